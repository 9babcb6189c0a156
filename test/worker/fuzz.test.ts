import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as entry from 'x-transformers/worker'
import { fuzz, membersOf, type Wrong, wrongValues } from '../api/fuzz.js'

const { spawn, tensor } = entry
const { signal } = new AbortController()
const on_progress = () => {}
const reading = { signal, on_progress }

type Arguments = () => readonly unknown[]

let x: entry.Library
let wrong: Wrong[]
let file: Uint8Array
let model: entry.AutoregressiveWrapper
let optimizer: entry.AdamW
beforeAll(async () => {
  wrong = await wrongValues()
  x = await spawn({ threads: 1 })
  model = gpt()
  optimizer = new x.AdamW(model)
  file = await model.saveBytes()
})
afterAll(() => x.terminate())

const layers = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }
const decoder = () => new x.Decoder(layers)
const net = () =>
  new x.TransformerWrapper({ num_tokens: 11, max_seq_len: 8, attn_layers: decoder() })
const gpt = () => new x.AutoregressiveWrapper(net())
const ids = () => tensor([[1, 2, 3, 4]], { dtype: 'i64' })
const mask = (columns: number) => tensor([Array(columns).fill(true)])

/** Names private to TypeScript, and those that dispose the object. */
const INTERNAL = /^(compute|within|dispose|terminate)$/

const OBJECTS: Record<string, () => object> = {
  HostTensor: ids,
  Decoder: decoder,
  TransformerWrapper: net,
  AutoregressiveWrapper: gpt,
  AdamW: () => new x.AdamW(gpt(), { lr: 0.1 }),
  EMA: () => new x.EMA(gpt()),
  LoRA: () => new x.LoRA(gpt()),
  Library: () => x,
}

/** No token is filtered out, so that `eos_token` comes even where 2^53 tokens are requested. */
const sampled: Arguments = () => [
  ids(),
  2,
  {
    temperature: 1,
    filter_logits_fn: 'top_k',
    filter_thres: 0,
    eos_token: 1,
    mask: mask(4),
    signal,
  },
]

const METHODS: Record<string, Arguments> = {
  'Decoder.forward': () => [tensor([[Array(16).fill(1)]]), { mask: mask(1), signal }],
  'TransformerWrapper.forward': () => [ids(), { mask: mask(4), return_embeddings: false, signal }],
  'AutoregressiveWrapper.forward': () => [ids(), { mask: mask(3), signal }],
  'AutoregressiveWrapper.generate': sampled,
  'AutoregressiveWrapper.stream': sampled,
  'AutoregressiveWrapper.score': () => [ids(), { signal }],
  'AdamW.load': () => [file],
  'EMA.load': () => [file],
  'LoRA.load': () => [file],
  'AdamW.setOptions': () => [{ lr: 0.1, eps: 1e-8 }, 0],
  'Library.load': () => [file.slice(), { transfer: false, ...reading }],
  'Library.manualSeed': () => [1],
  'Library.trainStep': () => [
    { model, optimizer, batches: [[ids()]], max_grad_norm: 1, objective: null, signal },
  ],
}

const COMMON: Record<string, Arguments> = {
  train: () => [true],
  quantize: () => ['nothing'],
  loadStateDict: () => [new Map(), { strict: false, prefix: '' }],
  loadWeights: () => [file.slice(), { strict: false, prefix: '', transfer: false, ...reading }],
  save: () => [''],
}

async function expectUsable(object: object): Promise<void> {
  if (object instanceof entry.HostTensor) expect(object.toArray()).toEqual([[1, 2, 3, 4]])
  expect((await net().forward(ids())).shape).toEqual([1, 4, 11])
  if ('describe' in object) await (object as entry.TransformerWrapper).describe()
}

describe('invalid arguments are an error or have no effect, on the page and in the worker:', () => {
  it('in tensor', () => fuzz(tensor as never, () => [[1, 2], { shape: [2], dtype: 'f32' }], wrong))

  it('in spawn', async () => {
    const call = async (options: unknown) => (await spawn(options as never)).terminate()
    await fuzz(call as never, () => [{ threads: 1, wasm: {}, ...reading }], wrong)
  })

  const classes: Record<string, Arguments> = {
    Decoder: () => [layers],
    TransformerWrapper: () => [{ num_tokens: 11, max_seq_len: 8, attn_layers: decoder() }],
    AutoregressiveWrapper: () => [net(), { pad_value: 0 }],
    AdamW: () => [[{ model: gpt(), params: null, lr: 0.1 }], { lr: 0.1, betas: [0.9, 0.99] }],
    SGD: () => [gpt(), { lr: 0.1 }],
    EMA: () => [gpt(), { decay: 0.9, warmup: true }],
    LoRA: () => [gpt(), { target_modules: ['*.to_q'], r: 2, lora_alpha: 4, use_rslora: true }],
  }
  it.each(Object.entries(classes))('in the constructor of %s', async (name, right) => {
    const Class = (
      x as unknown as Record<string, new (...args: unknown[]) => { ready: Promise<unknown> }>
    )[name]
    await fuzz((...args) => new (Class as NonNullable<typeof Class>)(...args).ready, right, wrong)
  })

  it.each(Object.keys(OBJECTS))('in the methods and setters of %s', async (name) => {
    const make = OBJECTS[name] as () => object
    const { methods, setters } = membersOf(make())
    for (const method of methods.filter((found) => !INTERNAL.test(found))) {
      const object = make() as Record<string, (...args: unknown[]) => unknown>
      const right =
        METHODS[`${name}.${method}`] ?? (Object.hasOwn(COMMON, method) ? COMMON[method] : undefined)
      await fuzz((...args) => object[method]?.(...args), right ?? (() => [1, {}]), wrong)
      await expectUsable(object)
    }
    for (const setter of setters) {
      const object = make() as Record<string, unknown>
      const set = (value: unknown) => {
        object[setter] = value
      }
      await fuzz(set, () => [object[setter]], wrong)
      await expectUsable(object)
    }
  })
})
