// Never run: compiler errors of a user's program with the installed package.
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  info,
  load,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { init } from 'x-transformers/wasm'
import { type Library, spawn } from 'x-transformers/worker'

export async function program(): Promise<number> {
  await init({
    url: '/x-transformers.wasm',
    on_progress: ({ loaded }) => console.log(loaded.toFixed()),
  })
  const attn_layers = new Decoder({ dim: 32, depth: 1 })
  const net = new TransformerWrapper({ num_tokens: 16, max_seq_len: 8, attn_layers })
  const ids = tensor([[1, 2, 3]], { dtype: 'i64' })
  const logits: Tensor = await net.forward(ids)

  const model = new AutoregressiveWrapper(net)
  const optimizer = new AdamW(model.parameters(), { lr: 1e-3 })
  const loss = await model.forward(ids)
  await loss.backward()
  await optimizer.step()
  const loaded = await load<AutoregressiveWrapper>(await model.saveBytes())

  const x: Library = await spawn({ threads: 'auto' })
  await new x.Decoder({ dim: 32, depth: 1 }).ready
  x.terminate()

  // @ts-expect-error: must be a number
  new Decoder({ dim: '32', depth: 1 })
  // @ts-expect-error: there is no such option
  new Decoder({ dim: 32, depth: 1, dept: 2 })
  return logits.shape.length + loaded.parameters().length + info().threads
}
