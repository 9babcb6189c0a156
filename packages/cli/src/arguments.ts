/** Parsers of the command line's values. */
import { type Command, InvalidArgumentError, Option } from 'commander'

/** A number above 0. */
export function positive(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0)
    throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

/** A number from 0 on. */
export function fromZero(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('It must be a number, at least 0.')
  return value
}

/** A whole number from `least` on. */
export const whole =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string) => {
    const value = Number(text)
    const inRange = Number.isSafeInteger(value) && value >= least && value <= most
    if (text.trim() !== '' && inRange) return value
    const end = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`
    throw new InvalidArgumentError(`It must be a whole number, ${end}.`)
  }

/** A share, above 0 and at most 1. */
export function share(text: string): number {
  const value = Number(text)
  if (value > 0 && value <= 1) return value
  throw new InvalidArgumentError('It must be a number above 0, at most 1.')
}

/** Adds examples to the help of a command: what to type, and what it does. */
export function examples(command: Command, lines: readonly (readonly [string, string])[]): Command {
  const text = lines.map(([line, what]) => `  # ${what}\n  $ x-transformers ${line}`)
  return command.addHelpText('after', `\nExamples:\n${text.join('\n\n')}`)
}

/** The options of every command that computes. */
export function addRuntimeOptions(command: Command): Command {
  return command
    .option('--device <name>', 'where to compute: cpu, cuda, cuda:1 ...')
    .option('--threads <n>', 'how many threads to use (default: all processors)', whole(1, 1024))
}

/** The options of what writes text. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option('--temperature <n>', 'lower is safer, higher is bolder; 0: the likeliest', fromZero)
    .option('--top-k <n>', 'keeps this many of the likeliest tokens', whole(1))
    .option('--top-p <n>', 'keeps the likeliest tokens up to this probability', share)
    .option('--min-p <n>', 'keeps tokens at least this share as likely as the likeliest', share)
    .option('--repetition-penalty <n>', 'above 1: less of what is there already', positive)
    .option('--seed <n>', 'for the same text again', whole(0))
}

/** The option of every command that has a result for programs. */
export const jsonOption = () =>
  new Option(
    '--json',
    'end with one line of JSON on standard output; all else goes to standard error',
  )

export interface RuntimeSettings {
  device?: string
  threads?: number
}

export interface SamplingSettings {
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  repetitionPenalty?: number
  seed?: number
}
