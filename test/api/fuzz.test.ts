import { beforeAll, describe, expect, it } from 'vitest'
import * as library from 'x-transformers'
import {
  Adafactor,
  Adam,
  AdamW,
  EMA,
  getDefaultDevice,
  info,
  Lion,
  LoRA,
  Module,
  Muon,
  manualSeed,
  ones,
  SGD,
  Tensor,
  tensor,
  XTransformersError,
} from 'x-transformers'
import { fuzz, membersOf, type Wrong, wrongValues } from './fuzz.js'
import { ids, numbers, smallModel } from './helpers.js'
import { ZOO as MODELS, PARTS } from './zoo.js'

type Arguments = () => readonly unknown[]

const ZOO = { ...MODELS, ...PARTS }

const { signal } = new AbortController()
const on_progress = () => {}
// biome-ignore format: as it is
const x = () => tensor([[1, 2, 3], [4, 5, 6]])
const row = (...shape: number[]) => ones(shape)
const mask = (...shape: number[]) => ones(shape, { dtype: 'bool' })

/** A file of weights, none of which fits the model. */
let file: Uint8Array
const making = { dtype: 'f32', device: 'cpu', requires_grad: false }
const reading = { signal, on_progress }
const weights = { strict: false, prefix: '', key: 'model', ...reading }

/**
 * Valid arguments of every function, one of which is made invalid at a time. Absent: {@link
 * UNKNOWN}.
 */
const FUNCTIONS: Record<string, Arguments> = {
  tensor: () => [[1, 2], { shape: [2], ...making }],
  zeros: () => [[2, 3], making],
  ones: () => [[2, 3], making],
  rand: () => [[2, 3], making],
  randn: () => [[2, 3], making],
  full: () => [[2, 3], 1, making],
  randint: () => [0, 5, [2, 3], { ...making, dtype: 'i64' }],
  arange: () => [0, 5, 1, { ...making, dtype: 'i64' }],
  cat: () => [[x(), x()], 0],
  stack: () => [[x(), x()], 0],
  where: () => [mask(2, 3), x(), 1],
  matmul: () => [x(), row(3, 2)],
  softmax: () => [x(), -1],
  logSoftmax: () => [x(), -1],
  crossEntropy: () => [x(), tensor([0, 1], { dtype: 'i64' }), { ignore_index: -100 }],
  mse: () => [x(), x()],
  zerosLike: () => [x(), making],
  onesLike: () => [x(), making],
  fullLike: () => [x(), 1, making],
  randLike: () => [x(), making],
  randnLike: () => [x(), making],
  top_k: () => [x(), { thres: 0.5 }],
  top_p: () => [x(), { thres: 0.5 }],
  top_a: () => [x(), { min_p_pow: 2, min_p_ratio: 0.02 }],
  clipGradNorm: () => [[ones([2], { requires_grad: true })], 1, { signal }],
  clipGradNormSync: () => [[ones([2], { requires_grad: true })], 1],
  clipGradValue: () => [[ones([2], { requires_grad: true })], 1, { signal }],
  clipGradValueSync: () => [[ones([2], { requires_grad: true })], 1],
  constant: () => [{ lr: 0.1 }],
  linearWarmup: () => [{ lr: 0.1, warmup_steps: 3 }],
  cosineWarmup: () => [{ lr: 0.1, warmup_steps: 3, total_steps: 9, min_lr: 0 }],
  linearDecay: () => [{ lr: 0.1, warmup_steps: 3, total_steps: 9, min_lr: 0 }],
  inverseSqrt: () => [{ lr: 0.1, warmup_steps: 3 }],
  warmupStableDecay: () => [{ lr: 0.1, warmup_steps: 3, decay_steps: 4, total_steps: 9 }],
  manualSeed: () => [1],
  setNumThreads: () => [info().threads],
  setDefaultDevice: () => [getDefaultDevice()],
  noGrad: () => [() => 1],
  tidy: () => [() => 1],
  describe: () => [(ZOO.Decoder as (typeof ZOO)[string])[0]()],
  load: () => [file, { device: 'cpu', ...reading }],
  loadSync: () => [file, { device: 'cpu' }],
  loadTensors: () => [file, { key: 'model', ...reading }],
  loadTensorsSync: () => [file, { key: 'model' }],
}

/** For functions not in the table, which are tried too. */
const UNKNOWN: Arguments = () => [x(), x(), {}]

const CONSTRUCTORS: Record<string, Arguments> = {
  Module: () => [],
  Tensor: () => [1],
  XTransformersError: () => ['internal', 'a message', [], { cause: 1 }],
  Adafactor: () => [[ones([2, 3], { requires_grad: true })], { lr: 0.1, eps: [null, 1e-3] }],
  EMA: () => [new Own(), { decay: 0.9, warmup: true }],
  LoRA: () => [smallModel(), { target_modules: '*.to_q', r: 2, lora_alpha: 4, use_rslora: true }],
  SGD: () => [[ones([2], { requires_grad: true })], { lr: 0.1, momentum: 0.9, nesterov: true }],
  Adam: () => [
    [{ params: [ones([2], { requires_grad: true })], lr: 0.1 }],
    { betas: [0.9, 0.99], eps: 1e-8 },
  ],
  AdamW: () => [[ones([2], { requires_grad: true })], { lr: 0.1, weight_decay: 0.1 }],
  Lion: () => [[ones([2], { requires_grad: true })], { lr: 0.1, betas: [0.9, 0.99] }],
  Muon: () => [
    [{ params: [ones([2, 3], { requires_grad: true })], use_muon: true }],
    { ns_coefficients: [3, -4, 2], adjust_lr_fn: 'original' },
  ],
}

class Own extends Module {
  weight = ones([2, 3], { requires_grad: true })
  part = (ZOO.Encoder as (typeof ZOO)[string])[0]()
  forward(value: Tensor) {
    return this.weight.mul(value)
  }
}

const optimizer = (Class: typeof AdamW) => () =>
  new Class([ones([2, 3], { requires_grad: true })], { lr: 0.1 })

/** An object of every class. */
const OBJECTS: Record<string, () => object> = {
  Module: () => new Own(),
  // biome-ignore format: as it is
  Tensor: () => tensor([[1, 2, 3], [4, 5, 6]], { requires_grad: true }),
  XTransformersError: () => new XTransformersError('internal', 'a message'),
  Adafactor: optimizer(Adafactor as never),
  EMA: () => new EMA(new Own()),
  LoRA: () => new LoRA(smallModel()),
  SGD: optimizer(SGD as never),
  Adam: optimizer(Adam as never),
  AdamW: optimizer(AdamW),
  Lion: optimizer(Lion as never),
  Muon: optimizer(Muon as never),
  ...Object.fromEntries(Object.entries(ZOO).map(([name, [make]]) => [name, make])),
}

const layers = () => [row(1, 4, 16), { mask: mask(1, 4), return_hiddens: false, signal }]
/** No token is filtered out, so that `eos_token` comes even where 2^53 tokens are requested. */
const decoding = {
  temperature: 1,
  filter_logits_fn: 'top_k',
  filter_thres: 0,
  eos_token: 1,
  cache_kv: true,
  signal,
}
const sampled = () => [ids(2, 3), 2, { ...decoding, mask: mask(2, 3) }]
const now = (args: Arguments) => () => {
  const list = [...args()]
  const { signal: _, ...rest } = list.pop() as { signal?: unknown }
  return [...list, rest]
}

const FORWARD: Record<string, Arguments> = {
  Module: () => [x()],
  Encoder: layers,
  Decoder: layers,
  TransformerBlock: () => [row(1, 4, 16), { attn_mask: null, causal: true, signal }],
  CrossAttender: () => [row(1, 4, 16), { context: row(1, 3, 16), signal }],
  Attention: () => [row(1, 4, 16), { mask: mask(1, 4), signal }],
  TransformerWrapper: () => [
    ids(2, 8),
    { mask: mask(2, 8), return_mems: false, mems: [row(2, 2, 16)], signal },
  ],
  ContinuousTransformerWrapper: () => [row(1, 8, 3), { mask: mask(1, 8), signal }],
  ViTransformerWrapper: () => [row(1, 3, 8, 8), { return_embeddings: false, signal }],
  XTransformer: () => [ids(2, 5), ids(2, 6), { mask: mask(2, 5), signal }],
  AutoregressiveWrapper: () => [ids(2, 8), { mask: mask(2, 7), signal }],
  ContinuousAutoregressiveWrapper: () => [row(1, 8, 3), { mask: mask(1, 7), signal }],
  NonAutoregressiveWrapper: () => [ids(2, 8), { only_train_generator: false, signal }],
  Linear: () => [row(1, 4, 16), { signal }],
  Embedding: () => [ids(2, 8), { signal }],
  LayerNorm: () => [row(1, 4, 16), { signal }],
  RMSNorm: () => [row(1, 4, 16), { signal }],
  Dropout: () => [row(1, 4, 16), { signal }],
  FeedForward: () => [row(1, 4, 16), { signal }],
}

const GENERATE: Record<string, Arguments> = {
  XTransformer: () => [ids(2, 5), ids(2, 3), 2, decoding],
  ContinuousAutoregressiveWrapper: () => [row(1, 4, 3), 2, { cache_kv: true, signal }],
  NonAutoregressiveWrapper: () => [
    { batch_size: 1, start_temperature: 1, filter_thres: 0.7, signal },
  ],
}

/** Valid arguments of a method of an object of class `name`. */
function methodArguments(name: string, method: string): Arguments {
  const forward = FORWARD[name] ?? UNKNOWN
  const generate = GENERATE[name] ?? sampled
  const score: Arguments =
    name === 'XTransformer'
      ? () => [ids(2, 5), ids(2, 6), { signal }]
      : () => [ids(2, 5), { signal }]
  const state: Arguments =
    name in { SGD: 1, Adam: 1, AdamW: 1, Lion: 1, Muon: 1, Adafactor: 1, EMA: 1 }
      ? () => [(OBJECTS[name] as () => AdamW)().stateDict()]
      : () => [new Map(), { strict: false, prefix: '' }]
  const table: Record<string, Arguments> = {
    forward,
    forwardSync: now(forward),
    generate,
    generateSync: now(generate),
    stream: generate,
    score,
    scoreSync: now(score),
    loadStateDict: state,
    loadWeights: () => [file, weights],
    loadWeightsSync: () => [file, { strict: false, prefix: '', key: 'model' }],
    load: () => [file, reading],
    loadSync: () => [file],
    save: () => [''],
    saveSync: () => [''],
    train: () => [true],
    to: () => ['cpu'],
    quantize: () => ['nothing'],
    step: () => [{ signal }],
    backward: () => [{ retain_graph: false, signal }],
    backwardSync: () => [{ retain_graph: false }],
    cast: () => ['f64'],
    sum: () => [[0], { keepdim: true }],
    mean: () => [0, { keepdim: true }],
    max: () => [0, { keepdim: true }],
    min: () => [0, { keepdim: true }],
    argmax: () => [0, { keepdim: true }],
    argmin: () => [0, { keepdim: true }],
    prod: () => [0, { keepdim: true }],
    any: () => [0, { keepdim: true }],
    all: () => [0, { keepdim: true }],
    std: () => [0, { correction: 1, keepdim: true }],
    var: () => [0, { correction: 1, keepdim: true }],
    norm: () => [0, { p: 2, keepdim: true }],
    cumsum: () => [0],
    sort: () => [0, { descending: true }],
    argsort: () => [0, { descending: true }],
    topk: () => [1, 0, { largest: true }],
    clamp: () => [{ min: 0, max: 1 }],
    unsqueeze: () => [0],
    squeeze: () => [[0]],
    flatten: () => [0, 1],
    expand: () => [[2, 2, 3]],
    repeat: () => [[2, 2]],
    split: () => [1, 0],
    chunk: () => [2, 0],
    unbind: () => [0],
    select: () => [0, 1],
    narrow: () => [0, 0, 1],
    flip: () => [[0]],
    tril: () => [0],
    triu: () => [0],
    outer: () => [row(3)],
    maskedFill: () => [mask(2, 3), 1],
    reshape: () => [[3, 2]],
    permute: () => [[1, 0]],
    transpose: () => [0, 1],
    slice: () => [0, 0, 1],
    gather: () => [0, tensor([[0, 1, 1]], { dtype: 'i64' })],
    where: () => [x(), 0],
    matmul: () => [row(3, 2)],
    copyTo: () => [new Own()],
    crossEntropy: () => [tensor([0, 1], { dtype: 'i64' }), { ignore_index: -100 }],
  }
  return (Object.hasOwn(table, method) ? table[method] : null) ?? UNKNOWN
}

/** Methods that TypeScript hides from users, and those that dispose the object. */
const INTERNAL =
  /^(run|scalarLike|operand|withData|axis|binary|reduce|position|spread|order|taken|checkPart|parts|call|callSync|prepare|heavy|heavySteps|within|described|generateTokens|generateTokensSync|streamTokens|dispose)$/

/** Whether the object still works: its values and its gradients are valid. */
async function expectUsable(name: string, object: object): Promise<void> {
  if (object instanceof Tensor) {
    expect(numbers(object.mul(2))).toEqual([2, 4, 6, 8, 10, 12])
  } else if (object instanceof Module) {
    const found = ((await ZOO[name]?.[1](object)) ?? (object.forward(x()) as Tensor)).dataSync()
    expect(Array.from(found, Number).every(Number.isFinite)).toBe(true)
  } else if ([SGD, Adam, AdamW, Lion, Muon, Adafactor].some((Class) => object instanceof Class)) {
    await (object as AdamW).step()
  } else if (object instanceof EMA) {
    if (object.applied) await object.restore()
    await object.update()
  } else if (object instanceof LoRA) {
    // one that was merged or removed has ended
    expect(object.modules).toHaveLength(7)
  }
}

const isClass = (value: unknown) =>
  typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
const exported = Object.entries(
  library as unknown as Record<string, (...args: unknown[]) => unknown>,
)
const classes = exported.filter(([, value]) => isClass(value)) as unknown as [
  string,
  new (...args: unknown[]) => object,
][]

let wrong: Wrong[]
beforeAll(async () => {
  manualSeed(1)
  wrong = await wrongValues()
  const own = new Own()
  file = await own.saveBytes()
})

describe('invalid arguments are an error or have no effect:', () => {
  it('in every function', async () => {
    const functions = exported.filter(([, value]) => typeof value === 'function' && !isClass(value))
    expect(functions.length).toBeGreaterThan(30)
    const { threads } = info()
    for (const [name, call] of functions) await fuzz(call, FUNCTIONS[name] ?? UNKNOWN, wrong)
    expect(info().threads).toBe(threads)
  })

  it.each(classes)('in the constructor of %s', async (name, Class) => {
    const zoo = ZOO[name]
    const right = CONSTRUCTORS[name] ?? (zoo ? () => constructorOf(zoo[0]() as Module) : UNKNOWN)
    await fuzz((...args) => new Class(...args), right, wrong)
  })

  it('in every class, of which there is an object here', () => {
    expect(classes.map(([name]) => name).filter((name) => !OBJECTS[name])).toEqual([])
  })

  const members = Object.entries(OBJECTS).flatMap(([name, make]) => {
    const { methods, setters } = membersOf(make())
    return [
      ...methods
        .filter((method) => !INTERNAL.test(method))
        .map((method) => [name, method, 'method'] as const),
      ...setters.map((setter) => [name, setter, 'setter'] as const),
    ]
  })

  it.each(members)('in %s.%s', async (name, member, kind) => {
    const object = (OBJECTS[name] as () => object)() as Record<string, unknown>
    const call = kind === 'method' ? object[member] : null
    const run = (...args: unknown[]) => {
      if (typeof call === 'function') return call.apply(object, args)
      object[member] = args[0]
      return undefined
    }
    await fuzz(
      run,
      kind === 'method' ? methodArguments(name, member) : () => [object[member]],
      wrong,
    )
    if (kind === 'setter' && object instanceof Tensor) object.requires_grad = true
    await expectUsable(name, object)
  })
})

/** The arguments that a model was made with. */
function constructorOf(model: Module): unknown[] {
  const given = { ...(model.options as Record<string, unknown>) }
  for (const key of Object.keys(given)) {
    if (typeof (given[key] as { class?: unknown } | null)?.class === 'string')
      given[key] = (model as never)[key]
  }
  const { net, ...options } = given
  return net ? [net, options] : [options]
}
