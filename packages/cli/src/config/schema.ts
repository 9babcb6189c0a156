/**
 * What a configuration may say, with its defaults. Models, optimizers and schedules are checked by
 * the library itself.
 */
import * as v from 'valibot'

const count = v.pipe(v.number(), v.integer(), v.minValue(1))
const whole = v.pipe(v.number(), v.integer(), v.minValue(0))
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0))
const fromZero = v.pipe(v.number(), v.finite(), v.minValue(0))
const share = v.pipe(v.number(), v.gtValue(0), v.ltValue(1))
const text = v.pipe(v.string(), v.nonEmpty())
const paths = v.union([
  v.pipe(
    text,
    v.transform((path) => [path]),
  ),
  v.array(text),
])

const about = <const S extends v.GenericSchema>(schema: S, words: string) =>
  v.pipe(schema, v.description(words))

/** A class with its options, as checkpoints name it; options that are models are such again. */
export const ModelSchema = v.strictObject({
  class: about(text, 'a class of the library, such as AutoregressiveWrapper'),
  options: v.optional(v.record(v.string(), v.unknown()), {}),
})

const TokenizerSchema = v.union([
  v.picklist(['char', 'byte', 'bpe']),
  v.strictObject({
    type: v.literal('char'),
    min_count: about(v.optional(count), 'leaves out characters that come less often'),
    unknown: v.optional(v.picklist(['error', 'skip'])),
    special_tokens: v.optional(v.array(text)),
  }),
  v.strictObject({ type: v.literal('byte'), special_tokens: v.optional(v.array(text)) }),
  v.strictObject({
    type: v.literal('bpe'),
    vocab_size: v.optional(count, 1024),
    min_frequency: v.optional(whole),
    special_tokens: v.optional(v.array(text)),
  }),
  about(text, 'the path of a tokenizer.json'),
])

const DataSchema = v.strictObject({
  files: about(v.optional(paths, []), 'text, .jsonl, or .bin with token ids'),
  field: about(v.optional(text, 'text'), 'of .jsonl: the field that has the text'),
  dtype: about(v.optional(v.picklist(['u16', 'u32']), 'u16'), 'of .bin: the type of an id'),
  separator: about(v.optional(v.string()), 'a token or a text between documents of .jsonl'),
  validation: about(
    v.optional(v.nullable(v.union([share, paths])), 0.1),
    'the share at the end of the data that is held out, files, or null',
  ),
})

const EvalSchema = v.strictObject({
  every: v.optional(count, 250),
  windows: about(v.optional(count), 'at most so many windows, evenly spread; at the end: all'),
})

const CheckpointSchema = v.strictObject({
  every: v.optional(count),
  keep: v.optional(count, 2),
  best: v.optional(v.boolean(), true),
})

const SampleSchema = v.strictObject({
  every: v.optional(count, 250),
  prompt: v.optional(v.string(), ''),
  tokens: v.optional(count, 200),
  temperature: v.optional(fromZero, 0.8),
})

const ClipSchema = v.strictObject({ norm: v.optional(positive), value: v.optional(positive) })

const NormsSchema = v.strictObject({
  every: v.optional(count, 50),
  activations: v.optional(v.boolean(), true),
})

const LoRASchema = v.strictObject({
  target_modules: about(
    v.optional(v.union([text, v.array(text)])),
    'patterns of the names of linear layers, such as *.to_q; default: all',
  ),
  r: about(v.optional(count), 'the rank; default: 8'),
  lora_alpha: about(v.optional(positive), 'the factor is lora_alpha / r; default: 8'),
  use_rslora: about(v.optional(v.boolean()), 'the factor is lora_alpha / sqrt(r)'),
})

const TrainSchema = v.strictObject({
  steps: v.optional(count),
  epochs: v.optional(count),
  seconds: v.optional(positive),
  batch_size: v.optional(count, 16),
  length: about(v.optional(count), 'tokens of a row; default: max_seq_len of the model'),
  windows: about(
    v.optional(v.picklist(['random', 'consecutive']), 'random'),
    'random: rows begin anywhere; consecutive: each token once in an epoch',
  ),
  grad_accum: v.optional(count, 1),
  clip: about(
    v.optional(v.nullable(v.union([positive, ClipSchema]))),
    'the largest norm of all gradients, or { norm, value }',
  ),
  optimizer: v.optional(v.looseObject({ class: v.optional(text, 'AdamW') }), { class: 'AdamW' }),
  decay: about(
    v.optional(v.picklist(['matrices', 'all']), 'matrices'),
    'what weight_decay is for: norms and biases too, or not',
  ),
  schedule: v.optional(v.nullable(v.looseObject({ name: text }))),
  eval: v.optional(EvalSchema, {}),
  checkpoint: v.optional(CheckpointSchema, {}),
  early_stop: v.optional(v.strictObject({ patience: count, min_delta: v.optional(fromZero, 0) })),
  sample: v.optional(v.nullable(SampleSchema), {}),
  norms: about(
    v.optional(v.nullable(NormsSchema), {}),
    'norms of the gradients and outputs of each layer, for the report',
  ),
  ema: about(
    v.optional(
      v.union([
        share,
        v.strictObject({ decay: v.optional(share), warmup: v.optional(v.boolean()) }),
      ]),
    ),
    'averages of the weights: evaluations and the model of the run use them',
  ),
  lora: about(
    v.optional(LoRASchema),
    'trains low-rank updates of a model that init names, and nothing else',
  ),
  report: about(v.optional(v.boolean(), true), 'whether report.html is written'),
  tensorboard: about(v.optional(v.boolean(), false), 'whether TensorBoard can read the run too'),
})

export const ConfigSchema = v.strictObject({
  $schema: v.optional(v.string()),
  description: v.optional(v.string()),
  seed: v.optional(whole, 42),
  init: about(v.optional(text), 'a trained model, whose weights the run begins with'),
  model: ModelSchema,
  tokenizer: v.optional(TokenizerSchema, 'char'),
  data: v.optional(DataSchema, {}),
  train: v.optional(TrainSchema, {}),
})

export type Config = v.InferOutput<typeof ConfigSchema>
export type ModelConfig = v.InferOutput<typeof ModelSchema>
export type TokenizerConfig = Config['tokenizer']
export type DataConfig = Config['data']
export type TrainConfig = Config['train']
