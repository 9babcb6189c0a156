// A vision transformer (ViT, https://arxiv.org/abs/2010.11929) learns to read handwritten digits.
import { parseArgs } from 'node:util'
import { Encoder, manualSeed, noGrad, ViTransformerWrapper } from 'x-transformers'
import { collateImages, DataLoader, type ImageExample } from 'x-transformers/data'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import { heldOut, movedAtRandom, SIZE } from './digits.js'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
/** The share of the held-out digits that is to be read correctly. */
const goal = values.quick ? 0.7 : 0.97
const steps = Number(values.steps ?? (values.quick ? 150 : 3000))

manualSeed(1)
const model = new ViTransformerWrapper({
  image_size: SIZE,
  patch_size: 7, // 4 x 4 patches, each a position
  channels: 1,
  num_classes: 10,
  attn_layers: new Encoder({ dim: 64, depth: 4, heads: 4, attn_dim_head: 16 }),
})

/** The share of the digits for which the right class has the greatest logit. */
async function accuracy(digits: ImageExample[]): Promise<number> {
  model.eval()
  let right = 0
  const loader = new DataLoader(digits, { batch_size: 250, collate_fn: collateImages })
  for await (const { images, labels } of loader) {
    using logits = await noGrad(() => model.forward(images)) // (batch, 10)
    right += Number(logits.argmax(1).eq(labels).to('f32').sum().item())
    images.dispose()
    labels.dispose()
  }
  model.train()
  return right / digits.length
}

// The rate falls with the share of the run that is done, whether steps or seconds end it.
const rate = cosineWarmup({ lr: 2e-3, warmup_steps: 30, total_steps: 1000, min_lr: 2e-5 })

const trainer = new Trainer(model, {
  data: new DataLoader(movedAtRandom, {
    batch_size: 64,
    shuffle: true,
    seed: 1,
    collate_fn: collateImages,
  }),
  objective: 'cross_entropy',
  optimizer: new AdamW(decayGroups(model, 0.05), { lr: 2e-3 }),
  schedule: (_, share) => rate(1000 * share),
  steps,
  seconds: 300,
  clip: 1,
})

console.log(`${model.numParameters} parameters read ${SIZE} x ${SIZE} pixels`)
for await (const event of trainer) {
  if (event.type === 'step' && event.step % 250 === 0)
    console.log(`step ${event.step}  loss ${event.loss.toFixed(3)}  ${event.seconds.toFixed(0)} s`)
  if (event.type !== 'done') continue

  const reached = await accuracy(heldOut)
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`
  console.log(
    `\nAfter ${event.seconds.toFixed(0)} s, ${percent(reached)} of ${heldOut.length} held-out digits`,
    `are read correctly; the goal is ${percent(goal)}.`,
  )
  process.exitCode = reached >= goal ? 0 : 1
}
