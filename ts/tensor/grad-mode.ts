import { contexts } from '#native'
import { checkFunction, isPromise, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Contexts } from '../native/native.js'
import { whenEnded } from '../promises.js'
import type { TensorHandle } from './handle.js'
import { handlesIn } from './handles-in.js'
import type { NoGradScope } from './no-grad-scope.js'
import { beginNoGrad, pendingNoGrad, runningNoGrad, taint, UNKNOWN } from './pending.js'
import { type Gates, NO_GATES } from './schedule.js'

/** How many functions of `noGrad` run in contexts, or have promises that are pending. */
let used = 0

/** The `noGrad` whose code this is, as far as the runtime tells; undefined where it does not. */
function currentNoGrad(): NoGradScope | null | undefined {
  if (contexts === null) return runningNoGrad()
  if (used === 0) return null
  const noGradScope = contexts.getStore() as NoGradScope | undefined
  return noGradScope?.active ? noGradScope : null
}

/** Whether a call made now keeps a graph for backward. */
export function gradEnabled(): boolean {
  return (currentNoGrad() ?? null) === null
}

/**
 * The `noGrad` that a call on these inputs, or on the model with `gates`, belongs to; null where it
 * keeps a graph.
 */
export function noGradScopeOf(
  inputs: readonly TensorHandle[],
  gates: Gates = NO_GATES,
): NoGradScope | null {
  const noGradScope = currentNoGrad()
  return (
    noGradScope ?? taint(inputs) ?? (noGradScope === null ? null : pendingNoGrad(inputs, gates))
  )
}

/**
 * Runs `fn` without keeping graphs, and returns what it returns.
 *
 * It holds for all that `fn` starts; where it returns a promise, until that is settled. Code that
 * runs meanwhile and is not of `fn` is outside.
 *
 * Node knows which code goes on after an `await`; browsers do not. So an async function is refused,
 * in both. In a browser, a call that starts anew after an `await` belongs to the `forward` of a
 * Module of your own that has its weights and was called in `fn`. Where another call that would
 * keep a graph may be of `fn`, such as in a loop of your own, it is an error (`busy`): put `noGrad`
 * around each call in it.
 *
 * @throws XTransformersError (`invalid_argument`) where `fn` is an async function or a generator;
 * nothing of it has run then
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
  return contexts === null ? withoutContexts(fn) : inContext(contexts, fn)
}

function inContext<T>(contexts: Contexts, fn: () => T): T {
  const noGradScope: NoGradScope = { active: true }
  const end = () => {
    noGradScope.active = false
    if (--used === 0) contexts.disable()
  }
  let later = false
  used++
  try {
    const result = contexts.run(noGradScope, fn)
    later = isPromise(result)
    // it ends before others hear of it
    return later ? (whenEnded(result as PromiseLike<unknown>, end) as T) : result
  } finally {
    if (!later) end()
  }
}

function withoutContexts<T>(fn: () => T): T {
  const noGradScope: NoGradScope = { active: true }
  const code = beginNoGrad(noGradScope)
  const end = () => {
    noGradScope.active = false
    code.end()
  }
  let later = false
  try {
    const result = fn()
    later = isPromise(result)
    if (!later) return result
    code.returns(result as object)
    return whenEnded(result as PromiseLike<unknown>, end).then(withoutGraph) as T
  } finally {
    code.leave()
    if (!later) end()
  }
}

/**
 * @throws XTransformersError (`busy`) where code that nobody knew to be of a `noGrad` has made the
 * result
 */
function withoutGraph(result: unknown): unknown {
  if (!handlesIn(result).some(({ live, gates }) => !live && gates.size > 0)) return result
  throw new XTransformersError('busy', UNKNOWN)
}

/** What TypeScript, esbuild, Babel and SWC make of an async function for older engines. */
const COMPILED =
  /^(?:\([^)]*\)\s*=>|function[^{]*\{)\s*(?:\{\s*)?(?:var\s+_this\s*=\s*this;?\s*)?(?:return\s+)?(?:\(0,\s*)?(?:[\w$.]+\.)?(?:__awaiter|__async)\)?\(|async_?generator_?step/i

const LATER = ['AsyncFunction', 'GeneratorFunction', 'AsyncGeneratorFunction']

/**
 * Whether a function is async or a generator, also compiled to an older language, as far as its
 * text tells.
 */
function runsLater(fn: unknown): boolean {
  if (typeof fn !== 'function') return false
  return LATER.includes(tagOf(fn)) || COMPILED.test(Function.prototype.toString.call(fn))
}
