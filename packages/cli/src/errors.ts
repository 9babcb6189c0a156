/** Errors that are explained by their message alone, and what the process ends with. */
import { closest } from './closest.js'

/** What the command ends with. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const

/** Something that the user has asked for cannot be done. */
export class Failure extends Error {
  override readonly name: string = 'Failure'
  readonly exitCode: number = EXIT.failure
}

/** The command, or a configuration, is not one that there is. */
export class UsageError extends Failure {
  override readonly name: string = 'UsageError'
  override readonly exitCode = EXIT.usage
}

/** The user has ended the command. */
export class Interrupted extends Failure {
  override readonly name: string = 'Interrupted'
  override readonly exitCode = EXIT.interrupted
}

/** An error about a name that there is not, with the one that was probably meant. */
export function unknownName(what: string, name: string, known: readonly string[]): UsageError {
  const near = closest(name, known)
  const hint = near ? `; did you mean ${near}?` : `; there is: ${known.join(', ')}`
  return new UsageError(`there is no ${what} named ${name}${hint}`)
}

/** An error of Node's about a file, in words. */
export function fileFailure(what: string, path: string, error: unknown): Failure {
  const { code, message } = error as NodeJS.ErrnoException
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such file',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of its path is no folder',
    EACCES: 'this user may not read or write it',
  }
  return new Failure(`${what} ${path}: ${reasons[code ?? ''] ?? message}`)
}
