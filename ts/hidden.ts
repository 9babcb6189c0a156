/**
 * Finds parameters in `#private` fields, which cannot be seen from outside: what a constructor has made, and what no property leads to.
 *
 * JavaScript does not tell when a constructor ends. So a Module and what is made later in the same turn of the event loop are put together by the
 * stack: where the constructor is on it, it has made them. Engines whose stacks do not say so find nothing.
 */
import { XTransformersError } from './errors.js'
import { ENDED, type Holder, identity, isHeld, noteOwner } from './holders.js'
import { isOwn } from './parameters.js'
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

/** The classes between an object and Module itself, which is the last but Object. */
function classesOf(module: object): object[] {
  const classes: object[] = []
  let prototype = Object.getPrototypeOf(module)
  while (prototype !== null) {
    classes.push(prototype.constructor)
    prototype = Object.getPrototypeOf(prototype)
  }
  return classes.slice(0, -2)
}

/** Notes a new model, before the constructors of its own classes run. */
export function noteModule(module: Holder): void {
  note(module)
  if (NATIVE_MODULE in module) return
  noteOwner(module)
  const classes = classesOf(module)
  if (!classes.some(hides)) return
  const names = new Set(classes.map((own) => (own as { name: string }).name).filter((name) => name !== ''))
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
  for (const name of constructorsOnStack()) {
    const construction = recent.findLast(({ names }) => names.has(name))
    if (!construction) continue
    construction.made.push(new WeakRef(made))
    return
  }
}

/** The classes whose constructors run, innermost first. */
function constructorsOnStack(): string[] {
  const { stack } = new Error()
  if (typeof stack !== 'string') return []
  return Array.from(stack.matchAll(/^\s+at new ([\w$]+)/gm), ([, name]) => name as string)
}

/** @throws XTransformersError (`invalid_state`) where the constructor of `module` has made parameters that cannot be seen; after a walk */
export function requireSeen(module: object): void {
  const hidden = (constructions.get(identity(module))?.made ?? []).flatMap((reference) => {
    const made = reference.deref()
    return made && !isSeen(made) ? [inWords(made)] : []
  })
  if (hidden.length === 0) return
  throw new XTransformersError(
    'invalid_state',
    `${module.constructor.name} has made ${hidden.join(', ')} where nobody can see it, so that it would be neither trained nor saved: in place of #private fields use public properties, such as \`private\` ones of TypeScript; dispose() what is not needed`,
  )
}

const isTensor = (made: Holder | Tensor): made is Tensor => HANDLE in made

/** Whether a property leads to it, or nobody needs it any more. */
function isSeen(made: Holder | Tensor): boolean {
  if (isTensor(made)) return made[HANDLE].disposed || isOwn(made)
  return made[ENDED] !== null || isHeld(made)
}

const inWords = (made: Holder | Tensor) =>
  isTensor(made) ? `a parameter of shape [${made.shape.join(', ')}]` : `a ${made.constructor.name}`
