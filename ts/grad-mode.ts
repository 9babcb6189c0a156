import { afterwards, checkFunction } from './checks.js'
import { XTransformersError } from './errors.js'

/** A `noGrad` that runs, or whose promise is pending. What comes of it keeps no graph until then. */
export interface Quiet {
  active: boolean
}

/** Those whose functions run, innermost last. */
const running: Quiet[] = []

/** Whether a call made now keeps a graph for backward. */
export function gradEnabled(): boolean {
  return running.length === 0
}

/** The `noGrad` that a call on these inputs belongs to; null where it keeps a graph. */
export function quietOf(inputs: readonly { quiet: Quiet | null }[]): Quiet | null {
  return running.at(-1) ?? inputs.find(({ quiet }) => quiet?.active)?.quiet ?? null
}

/**
 * Runs `fn` without keeping graphs, and returns what it returns.
 *
 * It holds for what is *started* while `fn` runs synchronously: a forward begun in it keeps no graph even though it ends later. Where `fn` returns
 * a promise, such as that of the async `forward` of a Module of your own, it also holds, until that is settled, for what is computed from
 * results of `fn`. Everything else that runs later is outside again. So an async function is refused: code after its first `await` that
 * starts anew would keep graphs. Put `noGrad` around each call in it.
 *
 * @throws XTransformersError (`invalid_argument`) where `fn` is an async function or a generator; nothing of it has run then
 * @example
 * const logits = await noGrad(() => model.forward(x))
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction(fn, 'what noGrad runs')
  if (runsLater(fn)) {
    throw new XTransformersError(
      'invalid_argument',
      'noGrad(fn) holds while fn runs, and fn is an async function or a generator, whose code runs later: put it around each call, `const y = await noGrad(() => model.forward(x))`',
    )
  }
  const quiet: Quiet = { active: true }
  running.push(quiet)
  let later = false
  try {
    const result = fn()
    later = Object.prototype.toString.call(result) === '[object Promise]'
    return later ? (ending(result as Promise<unknown>, quiet) as T) : result
  } finally {
    running.pop()
    if (!later) quiet.active = false
  }
}

/** The same promise, but that it ends `quiet` before others hear of it. */
function ending<T>(promise: Promise<T>, quiet: Quiet): Promise<T> {
  return afterwards(promise, () => {
    quiet.active = false
  })
}

/** What TypeScript, esbuild, Babel and SWC make of an async function for older engines. */
const COMPILED =
  /^(?:\([^)]*\)\s*=>|function[^{]*\{)\s*(?:\{\s*)?(?:return\s+)?(?:[\w$.]+\.)?(?:__awaiter|__async)\(|async_?generator_?step/i

const LATER = ['[object AsyncFunction]', '[object GeneratorFunction]', '[object AsyncGeneratorFunction]']

/** Whether a function is async or a generator, also compiled to an older language, as far as its text tells. */
function runsLater(fn: unknown): boolean {
  if (typeof fn !== 'function') return false
  return LATER.includes(Object.prototype.toString.call(fn)) || COMPILED.test(Function.prototype.toString.call(fn))
}
