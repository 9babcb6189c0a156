/**
 * Finds parameters in `#private` fields, which cannot be seen from outside: what a constructor has
 * made (see tensor/constructors.ts), and what no property leads to.
 */
import { XTransformersError } from '../errors.js'
import { HANDLE, NATIVE_MODULE } from '../symbols.js'
import { type Construction, recordConstruction, recordMade } from '../tensor/constructors.js'
import type { Tensor } from '../tensor/tensor.js'
import { isKnown } from './parameters.js'
import {
  DISPOSAL,
  hasLiveParent,
  identity,
  type Parent,
  refreshParents,
  registerUserModel,
} from './parents.js'

/** By model: what its constructor has made. */
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
  // behind it are its own base (weights.ts) and Object
  return classes.slice(0, -2)
}

/** Notes a new model, before the constructors of its own classes run. */
export function noteModule(module: Parent): void {
  const classes = classesOf(module)
  recordMade(module, classes.map(nameOf).reverse())
  if (NATIVE_MODULE in module) return
  registerUserModel(module)
  const own = classes.slice(0, -1)
  if (own.some(hides)) constructions.set(module, recordConstruction(new Set(own.map(nameOf))))
}

const nameOf = (own: object) => (own as { name: string }).name || '<anonymous>'

/**
 * @throws XTransformersError (`invalid_state`) where the constructor of `module` has made
 * parameters that cannot be seen; after a walk
 */
export function requireSeen(module: object): void {
  const hiddenOnes = () =>
    (constructions.get(identity(module))?.made ?? []).flatMap((reference) => {
      const made = reference.deref() as Parent | Tensor | undefined
      return made && !isSeen(made) ? [inWords(made)] : []
    })
  if (hiddenOnes().length === 0) return
  // others may have it that nobody has looked at
  refreshParents()
  const hidden = hiddenOnes()
  if (hidden.length === 0) return
  throw new XTransformersError(
    'invalid_state',
    `${module.constructor.name} has made ${hidden.join(', ')} where nobody can see it, so that it would be neither trained nor saved: in place of #private fields use public properties, such as \`private\` ones of TypeScript; dispose() what is not needed`,
  )
}

const isTensor = (made: Parent | Tensor): made is Tensor => HANDLE in made

/** Whether a property leads to it, or nobody needs it any more. */
function isSeen(made: Parent | Tensor): boolean {
  if (isTensor(made)) return made[HANDLE].disposed || isKnown(made[HANDLE]) || hasLiveParent(made)
  return made[DISPOSAL] !== null || hasLiveParent(made)
}

const inWords = (made: Parent | Tensor) =>
  isTensor(made) ? `a parameter of shape [${made.shape.join(', ')}]` : `a ${made.constructor.name}`
