/**
 * The `forward` of a model of the user's own: what has to be known of each call.
 *
 * The method of the class stays as it is. Each model gets a property in front of it, which is not
 * listed.
 */
import { isPromise } from '../checks.js'
import { beginForward } from '../tensor/pending.js'
import { identity } from './parents.js'
import { requireReached } from './reached.js'

type Forward = (...args: unknown[]) => unknown

/** A model, as far as this needs it. */
interface Model {
  forward: Forward
}

const hooks = new WeakSet<Forward>()

/**
 * Puts the property there, for a method and also for a function that a constructor has put in its
 * place.
 */
export function hookForward(given: Model): void {
  const module = identity(given) as Model
  const own = Object.getOwnPropertyDescriptor(module, 'forward')
  const replaced = own?.value as Forward | undefined
  if (
    own
      ? typeof replaced !== 'function' || hooks.has(replaced)
      : typeof module.forward !== 'function'
  )
    return
  const hook = function forward(this: Model, ...args: unknown[]): unknown {
    return run(this ?? module, replaced ?? (Object.getPrototypeOf(module) as Model).forward, args)
  }
  hooks.add(hook)
  const property = {
    value: hook,
    writable: true,
    configurable: true,
    enumerable: own?.enumerable ?? false,
  }
  // a frozen model does without
  Reflect.defineProperty(module, 'forward', property)
}

function run(module: Model, forward: Forward, args: unknown[]): unknown {
  const call = beginForward(module, args)
  let result: unknown
  try {
    result = forward.apply(module, args)
  } catch (error) {
    call?.end()
    throw error
  } finally {
    call?.leave()
  }
  if (!isPromise(result)) {
    call?.end()
    requireReached(module, args, result)
    return result
  }
  const later = result.then(
    (value) => {
      call?.end()
      requireReached(module, args, value)
      return value
    },
    (error) => {
      call?.end()
      throw error
    },
  )
  call?.returns(later)
  return later
}
