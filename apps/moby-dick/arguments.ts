import { InvalidArgumentError } from 'commander'

/** A parser for numbers above 0. */
export function positive(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0)
    throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

/** A parser for whole numbers from `least` on. */
export const whole = (least: number) => (text: string) => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InvalidArgumentError(`It must be a whole number, at least ${least}.`)
  }
  return value
}
