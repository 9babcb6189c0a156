import { afterEach } from 'vitest'
// in a browser, where this same thread serves, WebAssembly is awaited here
import * as main from 'x-transformers'
import { type HostTensor, type Library, type RemoteModel, tensor } from 'x-transformers/worker'
import { serve } from '../../ts/worker/host/serve.js'
import type { Port } from '../../ts/worker/protocol.js'
import { connect } from '../../ts/worker/spawn.js'

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

/**
 * The library behind a MessageChannel, served on the same thread; it is terminated after the test.
 */
export async function library(change: (port: Port) => Port = (port) => port): Promise<Library> {
  const { port1, port2 } = new MessageChannel()
  const stop = serve(port2 as Port)
  // as with a Worker, its calls end with it
  const ending = Object.assign(change(port1 as Port), { terminate: () => stop() })
  const x = await connect(ending)
  open.push(() => {
    x.terminate()
    port1.close()
    port2.close()
  })
  return x
}

export const VOCABULARY = 11

/** Options of a decoder small enough to train quickly. */
export const LAYERS = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }
export const NET = { num_tokens: VOCABULARY, max_seq_len: 16 }

export function smallNet(x: Library, layers: object = {}) {
  return new x.TransformerWrapper({ ...NET, attn_layers: new x.Decoder({ ...LAYERS, ...layers }) })
}

export function smallModel(x: Library, layers: object = {}) {
  return new x.AutoregressiveWrapper(smallNet(x, layers))
}

/** The same in the main library. */
export function mainNet(layers: object = {}): main.TransformerWrapper {
  return new main.TransformerWrapper({
    ...NET,
    attn_layers: new main.Decoder({ ...LAYERS, ...layers }),
  })
}

export const mainModel = (layers: object = {}) => new main.AutoregressiveWrapper(mainNet(layers))

/** Token ids in rows, the same ones as those of `ids` in test/api. */
export function ids(rows: number, columns: number, vocabulary = VOCABULARY): HostTensor {
  const data = Array.from({ length: rows * columns }, (_, i) => (i * 7 + 3) % vocabulary)
  return tensor(data, { shape: [rows, columns], dtype: 'i64' })
}

export const numbers = ({ data }: HostTensor): number[] =>
  Array.from(data as ArrayLike<number | bigint>, Number)

/** All values of a model's state dict, in its order. */
export const weights = async (model: RemoteModel) =>
  [...(await model.stateDict()).values()].flatMap(numbers)

export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}
