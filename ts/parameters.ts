import { native } from '#native'
import { guarded } from './errors.js'
import type { Entry, EntrySource } from './module.js'
import { HANDLE } from './symbols.js'
import type { Device, Tensor } from './tensor.js'

const sources = new WeakMap<Tensor, EntrySource>()

/** The line of a state dict for a parameter of the user's own. */
export function own(name: string, tensor: Tensor): Entry {
  let source = sources.get(tensor)
  if (!source) {
    source = { tensor: () => tensor }
    sources.set(tensor, source)
  }
  return { name, shape: tensor.shape, kind: 'parameter', tied: null, source }
}

const NO_GRAD = '{"seed":0,"call":0,"grad":false}'

/** Puts another leaf behind a user's own parameter; its gradient stays. */
function replace(parameter: Tensor, args: { values: Tensor; device: Device }): void {
  const handle = parameter[HANDLE]
  const old = handle.use()
  const onDevice = (tensor: Parameters<typeof native.op>[1][number]) =>
    native.op('to_device', [tensor], JSON.stringify({ device: args.device }), NO_GRAD)
  guarded(() => {
    const values = native.op(
      'cast',
      [args.values[HANDLE].use().detach()],
      JSON.stringify({ dtype: old.dtype() }),
      NO_GRAD,
    )
    const leaf = onDevice(values).asLeaf()
    const gradient = old.grad()
    if (gradient) leaf.setGrad(onDevice(gradient))
    handle.swap(leaf)
  })
}

/** Copies values into a parameter of the user's own. */
export const assign = (parameter: Tensor, values: Tensor) => replace(parameter, { values, device: parameter.device })

/** Moves a parameter of the user's own to a device. */
export const move = (parameter: Tensor, device: Device) => replace(parameter, { values: parameter, device })
