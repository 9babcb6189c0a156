import { BRAND, type Brand, brand, brandOf } from './brand.js'

/** One thing that is wrong with a set of options or with a call. */
export interface Problem {
  /** The option, as a path: `heads`, or `attn_layers.heads`. */
  path: string
  /** What is wrong with it. */
  message: string
  /** The known name that was probably meant. */
  did_you_mean: string | null
  /** What is allowed there, in words. */
  allowed: string | null
}

/**
 * The kind of an error.
 *
 * - `invalid_options`: names or values of options, see `problems`; `invalid_argument`,
 *   `invalid_tensor`: other arguments that do not fit
 * - `not_available`: known, but not in this version
 * - `graph_freed`, `stale_parameters`, `not_scalar`, `no_graph`: backward is not possible
 * - `not_finite`: a run of training has a loss or gradients that are not finite
 * - `quantized`: training, or another device, after `quantize()`
 * - `busy`: a synchronous call while an asynchronous one on the same weights is pending
 * - `disposed`: use after `dispose()`
 * - `file`, `invalid_checkpoint`: a file, or its content
 * - `invalid_state`: not now
 * - `no_addon`: the native addon was not found
 * - `aborted`: ended by a signal (a call with a `signal` rejects with its reason instead)
 * - `out_of_memory`: a tensor, a model or a call does not fit
 * - `device`: a GPU or its driver has failed
 * - `worker`: a worker did not start, or broke down; `terminated`: use after `terminate()`
 * - `internal`: a defect of this library
 */
export type ErrorCode =
  | 'invalid_options'
  | 'invalid_argument'
  | 'invalid_tensor'
  | 'not_available'
  | 'graph_freed'
  | 'stale_parameters'
  | 'not_scalar'
  | 'no_graph'
  | 'not_finite'
  | 'quantized'
  | 'busy'
  | 'disposed'
  | 'file'
  | 'invalid_checkpoint'
  | 'invalid_state'
  | 'no_addon'
  | 'aborted'
  | 'out_of_memory'
  | 'device'
  | 'worker'
  | 'terminated'
  | 'internal'

/**
 * Every error of this library. The message says what to do; `code` is for programs.
 *
 * `instanceof XTransformersError` holds for those of another copy of the library too, and of one in
 * another realm (Jest, `vm`, an iframe).
 *
 * @example
 * try {
 *   new Decoder({ dim: 512, depth: 6, head: 8 })
 * } catch (error) {
 *   const known = error instanceof XTransformersError
 *   if (known) console.log(error.problems[0]?.did_you_mean) // 'heads'
 * }
 */
export class XTransformersError extends Error {
  override readonly name = 'XTransformersError'
  /** The kind of the error. */
  readonly code: ErrorCode
  /**
   * Every problem of the options or arguments, not only the first; empty for errors of another
   * kind.
   */
  readonly problems: readonly Problem[]

  constructor(
    code: ErrorCode,
    message: string,
    problems: readonly Problem[] = [],
    options?: { cause?: unknown },
  ) {
    // anything else might have no text
    super(typeof message === 'string' ? message : 'an error of x-transformers', options)
    this.code = code
    this.problems = problems
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(IS_ERROR)
  }

  /**
   * By what it is: an error of another copy has another class. A class of the caller's own that
   * extends this one is asked in the usual way.
   */
  static override [Symbol.hasInstance](value: unknown): value is XTransformersError {
    // biome-ignore lint/complexity/noThisInStatic: a subclass inherits this method
    if (isBase(this)) return brandOf(value)?.is === IS_ERROR
    // biome-ignore lint/complexity/noThisInStatic: a subclass inherits this method
    return Function.prototype[Symbol.hasInstance].call(this, value)
  }
}

const IS_ERROR = 'an XTransformersError'

/**
 * Not said within the class: the bundler renames a class that names itself, and stack traces show
 * that name.
 */
const isBase = (type: unknown) => type === XTransformersError

/** Most problems that one message names: the first ones would be lost in more. */
const MAX_NAMED = 50

/** Lines of a message, of which too many are only counted. */
export const shortened = (lines: readonly string[]): string[] =>
  lines.length > MAX_NAMED
    ? [...lines.slice(0, MAX_NAMED), `and ${lines.length - MAX_NAMED} more`]
    : [...lines]

/** A message of the addon: a line that says where, and one for each problem. */
function readable(text: string, problems: readonly Problem[]): string {
  const message = inWords(text)
  if (problems.length <= MAX_NAMED) return message
  const [where = '', ...lines] = message.split('\n')
  return [where, ...shortened(lines)].join('\n')
}

/** Values within arrays come back as they were encoded (encode.ts): here in words. */
const inWords = (text: string): string =>
  text
    .replace(/\{(?:"\$function":true,)?"\$value":("(?:[^"\\]|\\.)*")\}/g, (_, words) =>
      JSON.parse(words),
    )
    .replace(/\{"\$(tensor|module)":\d+\}/g, (_, what) =>
      what === 'tensor' ? 'a tensor' : 'a model',
    )

/**
 * What the addon throws, as an {@link XTransformersError}; its messages are JSON (see native.ts).
 * The addon's `Error` may be that of another realm. Only for calls into the addon: what a function
 * of the caller's throws reaches the caller as it is.
 */
export function fromNative(error: unknown): XTransformersError {
  if (error instanceof XTransformersError) return error
  const told = (error as { message?: unknown } | null | undefined)?.message
  const message = typeof told === 'string' ? told : String(error)
  const parsed = parse(message)
  if (!parsed) return new XTransformersError('internal', message, [], { cause: error })
  return new XTransformersError(
    parsed.code,
    readable(parsed.message, parsed.problems),
    parsed.problems,
  )
}

function parse(text: string): { code: ErrorCode; message: string; problems: Problem[] } | null {
  try {
    const value = JSON.parse(text)
    if (typeof value?.code !== 'string' || typeof value.message !== 'string') return null
    const problems = (Array.isArray(value.problems) ? value.problems : []).map(
      (p: Partial<Problem>) => ({
        path: p.path ?? '',
        message: inWords(p.message ?? ''),
        did_you_mean: p.did_you_mean ?? null,
        allowed: p.allowed ?? null,
      }),
    )
    return { code: value.code, message: value.message, problems }
  } catch {
    return null
  }
}

/** Runs `fn`, a call into the addon and nothing of the caller's, and translates its errors. */
export function guarded<T>(fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    throw fromNative(error)
  }
}

/** As {@link guarded}, for a call that gives a promise. */
export async function guardedAsync<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn()
  } catch (error) {
    throw fromNative(error)
  }
}
