import { native } from '#native'
import { guarded } from '../errors.js'
import { checkDevice, type Device } from './device.js'

let current: Device = 'cpu'

/** Where new tensors and models are, and models that are loaded, unless a `device` is given. */
export function getDefaultDevice(): Device {
  return current
}

/**
 * Chooses where new tensors and models are, and models that are loaded, unless a `device` is given.
 * Tensors and models that exist stay where they are; a new model around another one is where that
 * one is.
 *
 * @throws XTransformersError (`not_available`) where the device cannot be used; the message says
 *   why
 * @example
 * setDefaultDevice(cudaIsAvailable() ? 'cuda' : 'cpu')
 * const model = new Decoder({ dim: 64, depth: 2, heads: 4 }) // on the GPU, if there is one
 */
export function setDefaultDevice(device: Device): void {
  const wanted = checkDevice(device)
  const empty = JSON.stringify({ shape: [0], dtype: 'u8', device: wanted })
  guarded(() => native.op('zeros', [], empty, '{"seed":0,"call":0,"grad":false}')).dispose()
  current = wanted
}
