// A program that is built in one place and runs in another: says what computes, and what.
import { Decoder, info, randint, TransformerWrapper } from 'x-transformers'
import { init } from 'x-transformers/wasm'
import { spawn } from 'x-transformers/worker'

// no top-level await: the output may be CommonJS
async function main() {
  await init()
  const attn_layers = new Decoder({ dim: 32, depth: 1, heads: 2, attn_dim_head: 16 })
  const model = new TransformerWrapper({ num_tokens: 16, max_seq_len: 32, attn_layers })
  const { shape } = await model.forward(randint(0, 16, [1, 8]))
  const x = await spawn({ threads: 1 })
  const spawned = (await x.info()).target
  x.terminate()
  console.log(JSON.stringify({ target: info().target, shape, spawned }))
}

main()
