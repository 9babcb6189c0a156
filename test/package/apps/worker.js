// The library in a worker: spawn, train steps, a forward.
import { spawn, tensor } from 'x-transformers/worker'

const x = await spawn({ threads: 2 })
x.manualSeed(7)
const model = new x.AutoregressiveWrapper(
  new x.TransformerWrapper({
    num_tokens: 16,
    max_seq_len: 32,
    attn_layers: new x.Decoder({
      dim: 32,
      depth: 2,
      heads: 2,
      attn_dim_head: 16,
      rotary_pos_emb: true,
    }),
  }),
)
const optimizer = new x.AdamW(model, { lr: 1e-2 })
const batch = tensor([Array.from({ length: 32 }, (_, i) => i % 16)], { dtype: 'i64' })

const losses = []
for (let step = 0; step < 8; step++) {
  const { loss } = await x.trainStep({ model, optimizer, batches: [[batch]] })
  losses.push(loss)
}
const logits = await model.net.forward(batch)
const info = await x.info()
x.terminate()

globalThis.report = { info, losses, shape: logits.shape }
