import { checkInteger, checkNumber, refuse } from '../checks.js'

/** A number above 0, or one that stands for none. */
export function positive<Absent extends number | null>(
  value: unknown,
  what: string,
  whole: boolean,
  absent: Absent,
): number | Absent {
  if (value === undefined || value === null) return absent
  const number = whole ? checkInteger(value, what) : checkNumber(value, what)
  if (number > 0) return number
  throw refuse(what, 'above 0', value, 'invalid_options')
}
