import { resolve } from 'node:path'
import { InvalidArgumentError } from 'commander'
import { XTransformersError } from 'x-transformers'

/** A parser for numbers above 0. */
export function positive(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('It must be a number above 0.')
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

/** A path as the user means it: npm runs scripts in the package's folder, wherever it was called. */
export const userPath = (path: string) => resolve(process.env.INIT_CWD ?? '.', path)

/** Runs a command; an error of the library is explained by its message. */
export async function command(body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    console.error(error instanceof XTransformersError ? error.message : error)
    process.exitCode = 1
  }
}
