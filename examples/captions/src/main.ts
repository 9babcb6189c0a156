// A vision transformer reads images of three digits, and a decoder that attends to its patches says
// what stands there, letter by letter.
import { parseArgs } from 'node:util'
import {
  AutoregressiveWrapper,
  Decoder,
  Encoder,
  full,
  Module,
  manualSeed,
  noGrad,
  randint,
  type Tensor,
  TransformerWrapper,
  ViTransformerWrapper,
} from 'x-transformers'
import { DataLoader } from 'x-transformers/data'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import {
  CAPTION_LENGTH,
  captionsOf,
  END,
  heldOut,
  imagesOf,
  PAD,
  type Scene,
  START,
  tokenizer,
  toLearn,
} from './scenes.js'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
/** The share of the digits that are to be named, each in its place. */
const goal = values.quick ? 0.25 : 0.95
const steps = Number(values.steps ?? (values.quick ? 150 : 2000))
const [dim, heads, attn_dim_head] = [64, 4, 16]

class Captioner extends Module {
  readonly encoder = new ViTransformerWrapper({
    image_size: 56, // for the largest image; 28 x 84 has fewer patches
    patch_size: 7,
    channels: 1,
    attn_layers: new Encoder({ dim, depth: 3, heads, attn_dim_head }),
  })
  readonly decoder = new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: tokenizer.vocabSize,
      max_seq_len: CAPTION_LENGTH,
      attn_layers: new Decoder({ dim, depth: 2, heads, attn_dim_head, cross_attend: true }),
    }),
    { ignore_index: PAD, pad_value: PAD },
  )

  /** The embeddings of the patches, (batch, 4 x 12, dim), of images, (batch, 1, 28, 84). */
  see(images: Tensor): Promise<Tensor> {
    return this.encoder.forward(images, { return_embeddings: true })
  }

  /** The loss of captions, (batch, 1 + CAPTION_LENGTH). */
  async forward(images: Tensor, captions: Tensor): Promise<Tensor> {
    return this.decoder.forward(captions, { context: await this.see(images) })
  }

  async describe(images: Tensor): Promise<string[]> {
    const context = await noGrad(() => this.see(images))
    const starts = full([images.shape[0] ?? 0, 1], START, { dtype: 'i64' })
    const options = { context, temperature: 0, eos_token: END }
    const ids = await this.decoder.generate(starts, CAPTION_LENGTH, options)
    const rows = ids.toArray() as number[][]
    return rows.map((row) => tokenizer.decode(row, { skip_special_tokens: true }))
  }
}

manualSeed(1)
const model = new Captioner()
const trainer = new Trainer(model, {
  data: new DataLoader(toLearn, {
    batch_size: 32,
    shuffle: true,
    seed: 1,
    collate_fn: (scenes: Scene[]) => [imagesOf(scenes), captionsOf(scenes)],
  }),
  optimizer: new AdamW(decayGroups(model, 0.05), { lr: 2e-3 }),
  schedule: cosineWarmup({ lr: 2e-3, warmup_steps: 50, total_steps: steps, min_lr: 2e-5 }),
  steps,
  clip: 1,
})
console.log(`${model.numParameters} parameters learn to describe images`)
const { seconds } = await trainer.run((event) => {
  if (event.type === 'step' && event.step % 250 === 0)
    console.log(`step ${event.step}  loss ${event.loss.toFixed(3)}  ${event.seconds.toFixed(0)} s`)
})

/** The digits that a caption names. */
const named = (caption: string) => caption.split(/, | and /)

const scenes = (randint(0, heldOut.length, [500]).toArray() as number[]).map(heldOut.get)
const described = await model.describe(imagesOf(scenes))
for (const [i, { caption }] of scenes.slice(0, 5).entries())
  console.log(`${caption.padEnd(CAPTION_LENGTH)} →  ${described[i]}`)

const pairs = scenes.map(({ caption }, i) => [named(caption), named(described[i] ?? '')] as const)
const right = pairs.flatMap(([wanted, said]) => wanted.map((name, place) => name === said[place]))
const reached = right.filter(Boolean).length / right.length
const whole = pairs.filter(([wanted, said]) => String(wanted) === String(said)).length
const percent = (share: number) => `${(100 * share).toFixed(1)} %`
console.log(
  `\nAfter ${seconds.toFixed(0)} s, ${percent(reached)} of the digits in 500 images are named;`,
  `the goal is ${percent(goal)}. Without a mistake: ${percent(whole / scenes.length)}.`,
)
process.exitCode = reached >= goal ? 0 : 1
