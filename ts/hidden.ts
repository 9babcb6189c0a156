/**
 * Finds parameters in `#private` fields, which cannot be seen from outside: what a constructor has made, and what no property leads to.
 *
 * JavaScript does not tell when a constructor ends. So a Module and what is made later in the same turn of the event loop are put together by the
 * stack: where the constructor is on it, it has made them. Engines whose stacks do not say so find nothing.
 */
import { XTransformersError } from './errors.js'
import { ENDED, type Holder, identity, isHeld, lookAround, noteOwner } from './holders.js'
import { isKnown } from './parameters.js'
import { HANDLE, NATIVE_MODULE } from './symbols.js'
import type { Tensor } from './tensor.js'

/** A Module of the user's own, and what its constructor has made. */
interface Construction {
  /** Of its class and those that it extends. */
  names: ReadonlySet<string>
  made: WeakRef<Holder | Tensor>[]
}

/** Those of this turn, latest last. */
const recent: Construction[] = []
const constructions = new WeakMap<object, Construction>()
const hiding = new WeakMap<object, boolean>()

/** Private fields, and what TypeScript, Babel and esbuild make of them for older engines. */
const PRIVATE = /#[\w$]+|__privateAdd|WeakMap|classPrivateField|\.set\(this\b/

/** Whether a class has private fields, by its source. */
function hides(own: object): boolean {
  let found = hiding.get(own)
  if (found === undefined) {
    found = PRIVATE.test(Function.prototype.toString.call(own))
    hiding.set(own, found)
  }
  return found
}

/** The classes of a model, from its own on; Module is the last. */
function classesOf(module: object): object[] {
  const classes: object[] = []
  let prototype = Object.getPrototypeOf(module)
  while (prototype !== null) {
    classes.push(prototype.constructor)
    prototype = Object.getPrototypeOf(prototype)
  }
  return classes.slice(0, -1)
}

/** Notes a new model, before the constructors of its own classes run. */
export function noteModule(module: Holder): void {
  note(module)
  if (NATIVE_MODULE in module) return
  noteOwner(module)
  const classes = classesOf(module).slice(0, -1)
  if (!classes.some(hides)) return
  const names = new Set(classes.map(nameOf))
  const construction: Construction = { names, made: [] }
  constructions.set(module, construction)
  if (recent.push(construction) === 1) queueMicrotask(() => recent.splice(0))
}

/** Notes a new leaf. */
export function noteLeaf(tensor: Tensor): void {
  note(tensor)
}

/** Notes what the innermost constructor on the stack has made. */
function note(made: Holder | Tensor): void {
  if (recent.length === 0) return
  // those of the model itself come first: Module, and from there on what extends it
  const own = isTensor(made) ? [] : classesOf(made).map(nameOf).reverse()
  let next = 0
  for (const name of constructorsOnStack()) {
    const at = own.indexOf(name, next)
    if (at >= 0) next = at + 1
    const construction = at < 0 && recent.findLast(({ names }) => names.has(name))
    if (!construction) continue
    construction.made.push(new WeakRef(made))
    return
  }
}

const nameOf = (own: object) => (own as { name: string }).name || '<anonymous>'

/** The classes whose constructors run, innermost first. */
function constructorsOnStack(): string[] {
  const stack = wholeStack()
  if (typeof stack !== 'string') return []
  return Array.from(stack.matchAll(/^\s+at new (\S+)/gm), ([, name]) => name as string)
}

interface StackSettings {
  stackTraceLimit?: number
  prepareStackTrace?: unknown
}

/**
 * The stack as the engine writes it: a program may have cut it short, or have it written in another
 * way.
 */
function wholeStack(): string | undefined {
  const settings = Error as StackSettings
  const [limit, prepare] = [settings.stackTraceLimit, settings.prepareStackTrace]
  try {
    settings.stackTraceLimit = Number.POSITIVE_INFINITY
    if (prepare !== undefined) settings.prepareStackTrace = undefined
    return new Error().stack
  } catch {
    // settings may be frozen
    return new Error().stack
  } finally {
    try {
      if (limit === undefined) delete settings.stackTraceLimit
      else settings.stackTraceLimit = limit
      if (prepare !== undefined) settings.prepareStackTrace = prepare
    } catch {}
  }
}

/** @throws XTransformersError (`invalid_state`) where the constructor of `module` has made parameters that cannot be seen; after a walk */
export function requireSeen(module: object): void {
  const hiddenOnes = () =>
    (constructions.get(identity(module))?.made ?? []).flatMap((reference) => {
      const made = reference.deref()
      return made && !isSeen(made) ? [inWords(made)] : []
    })
  if (hiddenOnes().length === 0) return
  // others may have it that nobody has looked at
  lookAround()
  const hidden = hiddenOnes()
  if (hidden.length === 0) return
  throw new XTransformersError(
    'invalid_state',
    `${module.constructor.name} has made ${hidden.join(', ')} where nobody can see it, so that it would be neither trained nor saved: in place of #private fields use public properties, such as \`private\` ones of TypeScript; dispose() what is not needed`,
  )
}

const isTensor = (made: Holder | Tensor): made is Tensor => HANDLE in made

/** Whether a property leads to it, or nobody needs it any more. */
function isSeen(made: Holder | Tensor): boolean {
  if (isTensor(made)) return made[HANDLE].disposed || isKnown(made[HANDLE]) || isHeld(made)
  return made[ENDED] !== null || isHeld(made)
}

const inWords = (made: Holder | Tensor) =>
  isTensor(made) ? `a parameter of shape [${made.shape.join(', ')}]` : `a ${made.constructor.name}`
