// As PaLI (https://arxiv.org/abs/2209.06794), small: a vision transformer reads an image, an
// encoder reads its patches and a question together, and a decoder writes the answer.
import { parseArgs } from 'node:util'
import {
  AutoregressiveWrapper,
  cat,
  Decoder,
  Encoder,
  full,
  Module,
  manualSeed,
  noGrad,
  ones,
  randint,
  type Tensor,
  TransformerWrapper,
  ViTransformerWrapper,
} from 'x-transformers'
import { DataLoader } from 'x-transformers/data'
import { AdamW, cosineWarmup, decayGroups, Trainer } from 'x-transformers/train'
import {
  ANSWER_LENGTH,
  answersOf,
  END,
  type Example,
  heldOut,
  imagesOf,
  PAD,
  QUESTION_LENGTH,
  questionsOf,
  START,
  tokenizer,
  toLearn,
} from './questions.js'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
/** The share of the questions about held-out digits that are to be answered correctly. */
const goal = values.quick ? 0.2 : 0.9
const steps = Number(values.steps ?? (values.quick ? 150 : 2500))
const [dim, heads, attn_dim_head] = [64, 4, 16]

class Pali extends Module {
  readonly vision = new ViTransformerWrapper({
    image_size: 56, // for the largest image; 28 x 56 has fewer patches
    patch_size: 7,
    channels: 1,
    attn_layers: new Encoder({ dim, depth: 3, heads, attn_dim_head }),
  })
  readonly encoder = new TransformerWrapper({
    num_tokens: tokenizer.vocabSize,
    max_seq_len: QUESTION_LENGTH,
    attn_layers: new Encoder({ dim, depth: 2, heads, attn_dim_head }),
  })
  readonly decoder = new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: tokenizer.vocabSize,
      max_seq_len: ANSWER_LENGTH,
      attn_layers: new Decoder({ dim, depth: 2, heads, attn_dim_head, cross_attend: true }),
    }),
    { ignore_index: PAD, pad_value: PAD },
  )

  /** What the decoder attends to: patches and letters, (batch, 4 x 8 + QUESTION_LENGTH, dim). */
  async read(images: Tensor, questions: Tensor) {
    const prepend_embeds = await this.vision.forward(images, { return_embeddings: true })
    const patches = ones(prepend_embeds.shape.slice(0, 2), { dtype: 'bool' })
    const mask = cat([patches, questions.ne(PAD)], 1)
    const options = { prepend_embeds, mask, return_embeddings: true }
    return { context: await this.encoder.forward(questions, options), context_mask: mask }
  }

  /** The loss of answers, (batch, 1 + ANSWER_LENGTH). */
  async forward(images: Tensor, questions: Tensor, answers: Tensor): Promise<Tensor> {
    return this.decoder.forward(answers, await this.read(images, questions))
  }

  async answer(images: Tensor, questions: Tensor): Promise<string[]> {
    const seen = await noGrad(() => this.read(images, questions))
    const starts = full([images.shape[0] ?? 0, 1], START, { dtype: 'i64' })
    const options = { ...seen, temperature: 0, eos_token: END }
    const ids = await this.decoder.generate(starts, ANSWER_LENGTH, options)
    const rows = ids.toArray() as number[][]
    return rows.map((row) => tokenizer.decode(row, { skip_special_tokens: true }))
  }
}

manualSeed(1)
const model = new Pali()
const trainer = new Trainer(model, {
  data: new DataLoader(toLearn, {
    batch_size: values.quick ? 16 : 64,
    shuffle: true,
    seed: 1,
    collate_fn: (examples: Example[]) => [
      imagesOf(examples),
      questionsOf(examples),
      answersOf(examples),
    ],
  }),
  optimizer: new AdamW(decayGroups(model, 0.05), { lr: 2e-3 }),
  schedule: cosineWarmup({ lr: 2e-3, warmup_steps: 50, total_steps: steps, min_lr: 2e-5 }),
  steps,
  clip: 1,
})
console.log(`${model.numParameters} parameters learn to answer questions about images`)
const { seconds } = await trainer.run((event) => {
  if (event.type === 'step' && event.step % 250 === 0)
    console.log(`step ${event.step}  loss ${event.loss.toFixed(3)}  ${event.seconds.toFixed(0)} s`)
})

const asked = (randint(0, heldOut.length, [values.quick ? 300 : 1000]).toArray() as number[]).map(
  heldOut.get,
)
const answers = await model.answer(imagesOf(asked), questionsOf(asked))
const right = asked.map(({ answer }, i) => answer === answers[i])
const percent = (of: boolean[]) => `${((100 * of.filter(Boolean).length) / of.length).toFixed(1)} %`

for (const question of new Set(asked.map((example) => example.question)))
  console.log(question.padEnd(24), percent(right.filter((_, i) => asked[i]?.question === question)))
console.log(
  `\nAfter ${seconds.toFixed(0)} s, ${percent(right)} of ${asked.length} questions are answered correctly;`,
  `the goal is ${100 * goal} %.`,
)
process.exitCode = right.filter(Boolean).length >= goal * right.length ? 0 : 1
