// This package in a worker, as a user of x-transformers/worker writes it: on one thread, or on as many as there are cores.
import { spawn, tensor } from 'x-transformers/worker'
import { inputs, TRAINING, tokens, weights } from './models.js'

/** Loads the model and gives its work; `threads` as in `spawn`. */
export async function create(spec, threads) {
  const { num_tokens, max_seq_len, dim, depth, heads, rotary } = spec
  const x = await spawn({ threads })
  const net = new x.TransformerWrapper({
    num_tokens,
    max_seq_len,
    attn_layers: new x.Decoder({ dim, depth, heads, rotary_pos_emb: rotary }),
  })
  const model = new x.AutoregressiveWrapper(net)
  const { max_norm, ...options } = TRAINING
  const optimizer = new x.AdamW(model, options)

  const dict = [...weights(spec)].map(([name, { shape, data }]) => [name, tensor(data, { shape })])
  await net.loadStateDict(new Map(dict), { strict: true })
  const ids = (data, length) =>
    tensor(BigInt64Array.from(data, BigInt), { shape: [spec.batch, length] })
  const input = ids(inputs(spec), spec.length)
  const rows = ids(tokens(spec), spec.length + 1)

  return {
    info: () => x.info(),
    logits: async () => (await net.forward(input)).data,
    async forward() {
      await net.forward(input)
    },
    async trainStep() {
      const { loss } = await x.trainStep({
        model,
        optimizer,
        batches: [[rows]],
        max_grad_norm: max_norm,
      })
      return loss
    },
  }
}
