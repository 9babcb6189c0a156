// Transformer-XL (https://arxiv.org/abs/1901.02860): a text is read in short segments, and each
// segment attends to what the layers remember of those before it. Two models with the same initial
// weights read the same text for as many steps, one with memories and one without.
import { parseArgs } from 'node:util'
import {
  crossEntropy,
  Decoder,
  Module,
  manualSeed,
  noGrad,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import { heldOut, inOrder, TOKENS, toLearn } from './speeches.js'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
const steps = Number(values.steps ?? (values.quick ? 200 : 1000))
/** Tokens of a segment, remembered tokens, rows of a batch. */
const [SEGMENT, MEMORY, ROWS] = values.quick ? [4, 12, 64] : [32, 96, 16]

class TransformerXL extends Module {
  net = new TransformerWrapper({
    num_tokens: TOKENS,
    max_seq_len: SEGMENT,
    max_mem_len: MEMORY,
    attn_layers: new Decoder({
      dim: values.quick ? 64 : 128,
      depth: values.quick ? 2 : 3,
      heads: 4,
      attn_dim_head: 32,
      rel_pos_bias: true, // distances, which go on into the memories
    }),
  })
  remembers: boolean
  /** For each layer, (ROWS, up to MEMORY, dim); they have no gradient. */
  memories: Tensor[] = []

  constructor(options: { remembers: boolean }) {
    super()
    this.remembers = options.remembers
  }

  /** The loss of segments, (ROWS, SEGMENT + 1), each of which goes on where its row has ended. */
  async forward(ids: Tensor): Promise<Tensor> {
    const [input, target] = [ids.slice(1, 0, SEGMENT), ids.slice(1, 1)]
    if (!this.remembers) return crossEntropy(await this.net.forward(input), target)

    const mems = this.memories
    const [logits, next] = await this.net.forward(input, { mems, return_mems: true })
    this.forget()
    this.memories = next
    return crossEntropy(logits, target)
  }

  forget(): void {
    for (const memory of this.memories) memory.dispose()
    this.memories = []
  }
}

async function learn(model: TransformerXL): Promise<number> {
  const trainer = new Trainer(model, {
    data: inOrder(toLearn, ROWS, SEGMENT),
    optimizer: new AdamW(decayGroups(model, 0.1), { lr: 2e-3, betas: [0.9, 0.99] }),
    schedule: cosineWarmup({ lr: 2e-3, warmup_steps: 50, total_steps: steps, min_lr: 1e-4 }),
    steps,
    clip: 1,
  })
  const { seconds } = await trainer.run((event) => {
    if (event.type === 'step' && event.step % 250 === 0)
      console.log(
        `step ${event.step}  loss ${event.loss.toFixed(3)}  ${event.seconds.toFixed(0)} s`,
      )
  })
  return seconds
}

/** The mean loss on held-out text, in nats per character, read with memories or without. */
async function lossOf(model: TransformerXL, { remembers }: { remembers: boolean }) {
  model.remembers = remembers
  model.forget()
  const losses: number[] = []
  for await (const [ids] of inOrder(heldOut, ROWS, SEGMENT)) {
    using loss = await noGrad(() => model.forward(ids))
    losses.push(Number(loss.item()))
    ids.dispose()
    if (values.quick && losses.length === 200) break
  }
  return losses.reduce((a, b) => a + b) / losses.length
}

async function trained(options: { remembers: boolean }): Promise<TransformerXL> {
  manualSeed(1) // the same initial weights
  const model = new TransformerXL(options)
  const how = options.remembers ? 'with memories' : 'without memories'
  console.log(`${model.numParameters} parameters learn ${how}`)
  console.log(`${steps} steps in ${(await learn(model)).toFixed(0)} s\n`)
  return model
}

const model = await trained({ remembers: true })
const other = await trained({ remembers: false })
const loss = await lossOf(model, { remembers: true })
const forgetful = await lossOf(model, { remembers: false })
const without = await lossOf(other, { remembers: false })
/** How much the memories are to improve on a model that was trained without them. */
const goal = 0.02

console.log(`Loss on held-out addresses, in nats per character:
with memories                              ${loss.toFixed(3)}
the same model, read without memories      ${forgetful.toFixed(3)}
the model that was trained without them    ${without.toFixed(3)}; the goal is ${goal} below it`)
process.exitCode = loss < forgetful && loss <= without - goal ? 0 : 1
