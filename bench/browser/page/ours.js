// This package as a user writes it. The same text runs in the browser and, for the native build, in Node.
import {
  AdamW,
  AutoregressiveWrapper,
  clipGradNorm,
  Decoder,
  info,
  noGrad,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { inputs, TRAINING, tokens, weights } from './models.js'

function build({ num_tokens, max_seq_len, dim, depth, heads, rotary }) {
  const net = new TransformerWrapper({
    num_tokens,
    max_seq_len,
    attn_layers: new Decoder({ dim, depth, heads, rotary_pos_emb: rotary }),
  })
  return { net, model: new AutoregressiveWrapper(net) }
}

/** Loads the model and gives its work. */
export async function create(spec) {
  const { net, model } = build(spec)
  const dict = [...weights(spec)].map(([name, { shape, data }]) => [name, tensor(data, { shape })])
  net.loadStateDict(new Map(dict), { strict: true })
  const ids = (data, length) =>
    tensor(BigInt64Array.from(data, BigInt), { shape: [spec.batch, length] })
  const input = ids(inputs(spec), spec.length)
  const rows = ids(tokens(spec), spec.length + 1)

  const { max_norm, ...options } = TRAINING
  const parameters = model.parameters()
  const optimizer = new AdamW(parameters, options)

  const forward = () => noGrad(() => net.forward(input))
  return {
    info,
    async logits() {
      const logits = await forward()
      const values = await logits.data()
      logits.dispose()
      return values
    },
    async forward() {
      const logits = await forward()
      logits.dispose()
    },
    async trainStep() {
      const loss = await model.forward(rows)
      await loss.backward()
      await clipGradNorm(parameters, max_norm)
      await optimizer.step()
      optimizer.zeroGrad()
      const value = loss.item()
      loss.dispose()
      return value
    },
  }
}
