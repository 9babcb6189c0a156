/** Numbers as people read them. */

const UNITS: [least: number, unit: string][] = [
  [1e12, 'T'],
  [1e9, 'B'],
  [1e6, 'M'],
  [1e4, 'k'],
]

/** A count, short: 12.3 M. */
export function count(value: number): string {
  const [least, unit] = UNITS.find(([from]) => value >= from) ?? [1, '']
  const scaled = value / (unit === 'k' ? 1000 : least)
  return unit === '' ? value.toLocaleString('en-US') : `${Number(scaled.toPrecision(3))} ${unit}`
}

/** A measured value: four digits, without an exponent where that is short. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e5 || size < 1e-3)
    return Number(value.toPrecision(3)).toExponential().replace('e+', 'e')
  return String(Number(value.toPrecision(4)))
}

/** A time in seconds. */
export function duration(seconds: number): string {
  // rounded first: of 59.99 seconds no 60 are left over
  const short = Number(seconds.toPrecision(3))
  if (short < 60) return `${short} s`
  const whole = Math.round(seconds)
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} min ${whole % 60} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${(hours / 24).toFixed(1)} days`
}
