/** Arguments and results on the worker's side: tensors come as copies, and go as copies. */
import { isBytes, isMap, isPlain } from '../../checks.js'
import { deviceOf, type NativeModel } from '../../models/native-model.js'
import { HANDLE } from '../../symbols.js'
import { tensor } from '../../tensor/creation.js'
import type { Device } from '../../tensor/device.js'
import { Tensor } from '../../tensor/tensor.js'
import type { Id, Wire, WireTensor } from '../protocol.js'
import { ownMemory, type Packed } from '../transfer.js'
import type { Table } from './table.js'

/** The tensors of one call, which end with it. */
export class Tensors {
  readonly #all = new Set<Tensor>()

  constructor(readonly table: Table) {}

  /** Arguments for the library; tensors go to the device of the model whose call it is. */
  unpack<T = unknown>(value: Wire, model?: NativeModel): T {
    return this.#unpack(value, model && deviceOf(model)) as T
  }

  #unpack(value: Wire, device?: Device): unknown {
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map((item) => this.#unpack(item, device))
    // bytes, files, streams
    if (!isPlain(value)) return value
    const { $tensor, $object } = value as { $tensor?: WireTensor; $object?: Id }
    if ($object !== undefined) return this.table.model($object)
    if ($tensor) {
      const { data, shape, dtype } = $tensor
      return this.keep(tensor(data, { shape, dtype, device }))
    }
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.#unpack(item, device)]),
    )
  }

  /** Notes every tensor in a result, so that it ends with the call. */
  keep<T>(value: T): T {
    if (value instanceof Tensor) {
      // parameters live as long as their model
      if (!value[HANDLE].owned) this.#all.add(value)
    } else if (Array.isArray(value)) for (const item of value) this.keep(item)
    else if (typeof value === 'object' && value !== null)
      for (const item of Object.values(value)) this.keep(item)
    return value
  }

  /** A result for the page. */
  pack(value: unknown): Packed {
    const transfer: object[] = []
    const give = <T extends { buffer: ArrayBufferLike }>(data: T): T => {
      transfer.push(data.buffer)
      return data
    }
    const visit = (item: unknown): Wire => {
      if (item instanceof Tensor) {
        const { shape, dtype } = item
        return { $tensor: { data: give(ownMemory(item.dataSync())), shape: [...shape], dtype } }
      }
      if (isBytes(item)) return give(ownMemory(item))
      if (isMap(item))
        return Object.fromEntries(Array.from(item, ([key, part]) => [key, visit(part)]))
      if (Array.isArray(item)) return item.map(visit)
      if (typeof item !== 'object' || item === null || !isPlain(item)) return item
      return Object.fromEntries(Object.entries(item).map(([key, part]) => [key, visit(part)]))
    }
    return { value: visit(value), transfer }
  }

  dispose(): void {
    for (const item of this.#all) item.dispose()
    this.#all.clear()
  }
}
