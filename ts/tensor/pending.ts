/**
 * Which code a call belongs to, where the runtime does not tell: in browsers, which have nothing
 * like AsyncLocalStorage.
 *
 * Code goes on after an `await` in a job of its own. What is known then: which forwards of models
 * of the user's own are pending, and what these have within. A call on a part belongs to the
 * forward of the model that has it. Where that is not enough, and a `noGrad` is pending whose code
 * may be anything, there is an error: to guess would lose a graph, or keep one.
 */
import { contexts } from '#native'
import { XTransformersError } from '../errors.js'
import { GATES } from '../symbols.js'
import type { TensorHandle } from './handle.js'
import { handlesIn } from './handles-in.js'
import type { NoGradScope } from './no-grad-scope.js'
import type { Gates } from './schedule.js'

export const UNKNOWN =
  'the promise of noGrad(fn) is pending, and a browser does not tell whether a call made after an await belongs to fn: put noGrad around each call, `const y = await noGrad(() => model.forward(x))`, and await it before other calls'

/**
 * The synchronous parts that run, innermost last: the `noGrad` that they belong to, null for none.
 */
const running: (NoGradScope | null)[] = []

/** The code of a `noGrad` whose promise is pending. */
interface Code {
  noGradScope: NoGradScope | null
  /** Of what is within; null where that may be anything. */
  gates: (() => Gates) | null
  /** Whether nothing after its first `await` can have run yet. */
  fresh: boolean
}

const pending = new Set<Code>()
/** How many of them keep no graph. */
let noGradCount = 0

/** Promises behind which no code of the user's runs that is not in `pending`. */
const known = new WeakSet<object>()

/** Notes a promise of the library's own. */
export function noteKnown<P extends object>(promise: P): P {
  if (contexts === null) known.add(promise)
  return promise
}

function newCode(noGradScope: NoGradScope | null, gates: Code['gates']): Code {
  const code: Code = { noGradScope, gates, fresh: noGradScope !== null }
  // before any job of that code, which is yet to be queued
  const ripen = () => {
    code.fresh = false
  }
  if (code.fresh) queueMicrotask(ripen)
  return code
}

function add(code: Code): void {
  if (pending.has(code)) return
  pending.add(code)
  if (code.noGradScope) noGradCount++
}

function remove(code: Code): void {
  if (pending.delete(code) && code.noGradScope) noGradCount--
}

/** A call of a model's `forward`, or of what `noGrad` runs. */
export interface Begun {
  /** Its synchronous part is over. */
  leave(): void
  /** It has given this promise. */
  returns(promise: object): void
  end(): void
}

function begin(code: Code, entered: boolean): Begun {
  if (entered) running.push(code.noGradScope)
  return {
    leave: () => void (entered && running.pop()),
    returns: (promise) => {
      if (known.has(promise)) return
      add(code)
      // the code of a forward is known by what is within
      if (code.gates) known.add(promise)
    },
    end: () => remove(code),
  }
}

/** Begins what `noGrad` runs. */
export const beginNoGrad = (noGradScope: NoGradScope): Begun =>
  begin(newCode(noGradScope, null), true)

/**
 * Begins a forward of a model of the user's own; null where the runtime knows what belongs to it.
 */
export function beginForward(module: object, args: readonly unknown[]): Begun | null {
  if (contexts !== null) return null
  let gates: Gates | null = null
  const within = () => {
    gates ??= (module as { [GATES](): Gates })[GATES]()
    return gates
  }
  const top = running.at(-1)
  const given = () => taint(handlesIn(args, 4))
  const noGradScope = top ?? given() ?? (top === undefined ? codeOf(within) : null)
  // without weights it is nobody's
  const entered = noGradScope !== null || (noGradCount > 0 && within().size > 0)
  return begin(newCode(noGradScope, within), entered)
}

/** The `noGrad` of the inputs, while it runs. */
export const taint = (inputs: readonly { noGradScope: NoGradScope | null }[]): NoGradScope | null =>
  inputs.find(({ noGradScope }) => noGradScope?.active)?.noGradScope ?? null

/**
 * The `noGrad` whose synchronous part runs; null inside a forward that keeps graphs, undefined
 * elsewhere.
 */
export const runningNoGrad = (): NoGradScope | null | undefined => running.at(-1)

/**
 * The `noGrad` that a call on inputs, or on the model with `gates`, belongs to; null where it keeps
 * a graph.
 */
export function pendingNoGrad(inputs: readonly TensorHandle[], gates: Gates): NoGradScope | null {
  if (noGradCount === 0) return null
  // a result with a graph was made outside, as all that noGrad has made is without
  if (inputs.some((input) => !input.live && input.gates.size > 0)) return null
  const leaves = inputs.filter(
    (input) => input.live && input.gates.size > 0 && input.use().requiresGrad(),
  )
  if (gates.size === 0 && leaves.length === 0) return null
  const all = [...leaves.flatMap((leaf) => [...leaf.gates]), ...gates]
  return codeOf(() => new Set(all))
}

/** @throws XTransformersError (`busy`) where a call on these weights may belong to several */
function codeOf(weights: () => Gates): NoGradScope | null {
  if (noGradCount === 0) return null
  const gates = weights()
  const codes = [...pending].filter((code) => !code.fresh)
  const having = codes.filter(
    (code) => gates.size > 0 && code.gates && isWithin(gates, code.gates()),
  )
  const within = having.find((code) => code.noGradScope)
  if (within && having.every((code) => code.noGradScope)) return within.noGradScope
  if (within || (having.length === 0 && codes.some((code) => code.gates === null))) {
    throw new XTransformersError('busy', UNKNOWN)
  }
  return null
}

function isWithin(gates: Gates, others: Gates): boolean {
  for (const gate of gates) if (!others.has(gate)) return false
  return true
}
