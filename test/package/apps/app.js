// The library on the page's own thread: trains a small model for some steps, and lets it write.
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  info,
  manualSeed,
  TransformerWrapper,
  tensor,
} from 'x-transformers'

manualSeed(7)
const model = new AutoregressiveWrapper(
  new TransformerWrapper({
    num_tokens: 16,
    max_seq_len: 32,
    attn_layers: new Decoder({
      dim: 32,
      depth: 2,
      heads: 2,
      attn_dim_head: 16,
      rotary_pos_emb: true,
    }),
  }),
)
const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
const batch = tensor([Array.from({ length: 32 }, (_, i) => i % 16)], { dtype: 'i64' })

const losses = []
for (let step = 0; step < 8; step++) {
  const loss = await model.forward(batch)
  await loss.backward()
  await optimizer.step()
  optimizer.zeroGrad()
  losses.push(loss.item())
}
const written = await model.generate(tensor([[1, 2, 3]], { dtype: 'i64' }), 4, { temperature: 0 })

globalThis.report = { info: info(), losses, shape: written.shape }
