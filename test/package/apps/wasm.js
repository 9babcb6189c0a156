// A page that places the WebAssembly file itself.
import { Decoder, info, init, randint, TransformerWrapper } from 'x-transformers/wasm'

const progress = []
await init({ url: '/x-transformers.wasm', on_progress: ({ loaded }) => progress.push(loaded) })
const model = new TransformerWrapper({
  num_tokens: 16,
  max_seq_len: 32,
  attn_layers: new Decoder({ dim: 32, depth: 2, heads: 2, attn_dim_head: 16 }),
})
const logits = await model.forward(randint(0, 16, [1, 32]))

globalThis.report = { info: info(), loaded: progress.at(-1) ?? null, shape: logits.shape }
