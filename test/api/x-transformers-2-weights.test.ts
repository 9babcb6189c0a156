// Weights of Python's x-transformers 2 in models of this package, and what is refused.
import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  cat,
  Decoder,
  type Module,
  Module as OwnModule,
  ones,
  randn,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'
import { build, toTensors } from '../parity/build.js'
import { part, readSafetensors } from '../parity/safetensors.js'
import { expectClose, expectThrows, ids, numbers } from './helpers.js'
import { modelOf, recordedCase } from './x-transformers-2.js'

type Options = Record<string, unknown>
type State = Map<string, Tensor>

const dialect = 'x-transformers-2'

/** The weights of a recording, by their names in Python, its input and its logits. */
async function recordedWeights(name: string) {
  const [spec, bytes] = await recordedCase(name)
  const data = readSafetensors(bytes)
  const model = spec.models.model
  const logits = data.get('out.logits')
  if (!model || !logits) throw new Error(`${name} is a recording of something else`)
  return {
    options: modelOf(model),
    weights: toTensors(part(data, 'param.')),
    x: toTensors(part(data, 'in.')).get('x') as Tensor,
    logits: Array.from(logits.data, Number),
  }
}

const forward = async (model: Module, x: Tensor) =>
  numbers((await (model as TransformerWrapper).eval().forward(x)) as Tensor)

/** The bytes of a file with these tensors. */
async function fileOf(weights: State): Promise<Uint8Array> {
  class Holder extends OwnModule {
    readonly weights = weights
    override stateDict = () => this.weights
    forward = async (x: Tensor) => x
  }
  return await new Holder().saveBytes()
}

describe('weights of x-transformers 2', () => {
  it('are read from files, whatever their names begin with', async () => {
    const { options, weights, x, logits } = await recordedWeights('kv-heads')
    const bytes = await fileOf(weights)
    const model = build(options)
    const nothing = { missing: [], unexpected: [], mismatched: [] }
    expect(await model.loadWeights(bytes, { dialect })).toEqual({ ...nothing, prefix: null })
    expectClose(await forward(model, x), logits, 1e-4)
    const again = build(options)
    const wrapped = new Map([...weights].map(([name, weight]) => [`net.${name}`, weight]))
    const file = await fileOf(wrapped)
    expect(again.loadWeightsSync(file, { dialect })).toEqual({ ...nothing, prefix: 'net.' })
    expectClose(await forward(again, x), logits, 1e-4)
    const outer = new AutoregressiveWrapper(build(options) as TransformerWrapper)
    expect(outer.loadStateDict(wrapped, { dialect })).toEqual({ ...nothing, prefix: null })
    expectClose(await forward(outer.net, x), logits, 1e-4)
    const named = new Map([...weights].map(([name, weight]) => [`ema.${name}`, weight]))
    const result = build(options).loadStateDict(named, { dialect, prefix: 'ema.' })
    expect(result).toEqual({ ...nothing, prefix: 'ema.' })
  })

  it('leave the tensors of the caller as they are', async () => {
    const { options, weights } = await recordedWeights('kv-heads')
    const before = new Map([...weights].map(([name, weight]) => [name, numbers(weight)]))
    build(options).loadStateDict(weights, { dialect })
    for (const [name, weight] of weights) expect(numbers(weight), name).toEqual(before.get(name))
  })

  it('have no biases where a model with the usual options has some', async () => {
    const { weights, x, logits } = await recordedWeights('decoder')
    const attn_layers = new Decoder({ dim: 12, depth: 2, heads: 4, attn_dim_head: 4, ff_mult: 2 })
    const model = new TransformerWrapper({ num_tokens: 24, max_seq_len: 16, attn_layers })
    expect(model.loadStateDict(weights, { dialect }).missing).toEqual([])
    expectClose(await forward(model, x), logits, 1e-4)
    for (const [name, weight] of model.namedParameters())
      if (/(layers\.\d\.0\.0|norm|to_logits)\.bias$/.test(name))
        expect(numbers(weight).some(Boolean)).toBe(false)
  })

  it('have no projection behind a single head that is as wide as the model', async () => {
    const make = () => {
      const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 1, attn_dim_head: 8, ff_mult: 1 })
      return new TransformerWrapper({ num_tokens: 11, max_seq_len: 16, attn_layers })
    }
    const file = inPython(make().stateDict())
    expect(file.delete('attn_layers.layers.0.1.to_out.weight')).toBe(true)
    const model = make()
    model.loadStateDict(file, { dialect })
    const to_out = model.stateDict().get('attn_layers.layers.0.1.to_out.weight') as Tensor
    expect(numbers(to_out)).toEqual(Array.from({ length: 64 }, (_, i) => Number(i % 9 === 0)))
  })
})

/** A state dict of this package with the names that x-transformers 2 has. */
function inPython(state: ReadonlyMap<string, Tensor>): State {
  const file: State = new Map()
  for (const [name, weight] of state) {
    if (/(layers\.\d+\.0\.\d|^norm|to_logits|to_v_gate)\.bias$/.test(name)) continue
    const theirs = name
      .replace(/^norm\.weight$/, 'attn_layers.final_norm.gamma')
      .replace(/(layers\.\d+\.0\.\d|mlp\.0\.1)\.weight$/, '$1.gamma')
      .replace(/(_rmsnorm)\.weight$/, '$1.gamma')
      .replace('.ff.3.', '.ff.2.')
      .replace(/(pre|post)_softmax/, 'attend.$1_softmax')
    file.set(theirs, theirs.endsWith('_rmsnorm.gamma') ? weight.unsqueeze(1) : weight)
  }
  return file
}

/** In Python query head n has the keys of head n mod count, so that these are all keys by head. */
const repeated = (weight: Tensor, times: number) => cat(Array.from({ length: times }, () => weight))

describe('heads that share keys', () => {
  const base = { dim: 12, depth: 2, heads: 6, attn_dim_head: 4, ff_mult: 1, cross_attend: true }
  it.each<[string, Options]>([
    ['plain', {}],
    ['a bias of each head by distance', { rel_pos_bias: true }],
    ['a bias of each head from an MLP', { dynamic_pos_bias: true, dynamic_pos_bias_norm: true }],
    ['talking heads', { attn_talking_heads: true }],
    ['scales of heads', { attn_head_scale: true, attn_qk_rmsnorm: true }],
    ['gates and sinks', { attn_gate_values: true, attn_head_learned_sink: true }],
    ['attention on attention', { attn_on_attn: true, attn_num_mem_kv: 2 }],
    ['residual attention', { residual_attn: true, cross_residual_attn: true }],
    ['other values', { attn_value_dim_head: 3 }],
    ['other levels', { macaron: true, use_layerscale: true, shift_tokens: 1 }],
  ])('are those of a model in which each head has its own: %s', async (_, options) => {
    const make = (kv: Options) => {
      const attn_layers = new Decoder({ ...base, ...options, ...kv })
      return new TransformerWrapper({ num_tokens: 11, max_seq_len: 16, attn_layers }).eval()
    }
    const few = make({ attn_kv_heads: 2 })
    const file: State = new Map()
    for (const [name, weight] of inPython(few.stateDict()))
      file.set(name, weight.shape.length > 0 ? randn(weight.shape).mul(0.5) : weight)
    few.loadStateDict(file, { dialect })
    const all = make({})
    const shared = /\.(to_k\.weight|to_v\.weight|mem_k|mem_v|k_rmsnorm\.gamma)$/
    const own = [...file].map(
      ([name, weight]) => [name, shared.test(name) ? repeated(weight, 3) : weight] as const,
    )
    all.loadStateDict(new Map(own), { dialect })
    const [x, context] = [ids(2, 7), randn([2, 5, 12])]
    const [a, b] = [await few.forward(x, { context }), await all.forward(x, { context })]
    expectClose(numbers(a), numbers(b), 1e-4)
  })
})

describe('is refused', () => {
  const small = (layers: Options = {}) =>
    new TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 16,
      attn_layers: new Decoder({ dim: 8, depth: 2, heads: 4, attn_dim_head: 4, ...layers }),
    })

  it('what the model does not have, by name', () => {
    const model = small()
    const file = inPython(model.stateDict())
    file.set('attn_layers.layers.0.1.to_latent_q.weight', ones([2, 2]))
    const before = numbers(model.parameters()[0] as Tensor)
    const load = (strict: boolean) => model.loadStateDict(file, { dialect, strict })
    const words = 'attn_layers.layers.0.1.to_latent_q.weight is not in this model'
    expectThrows(() => load(true), 'invalid_checkpoint', words)
    expect(numbers(model.parameters()[0] as Tensor)).toEqual(before)
    expect(load(false).unexpected).toEqual(['attn_layers.layers.0.1.to_latent_q.weight'])
  })

  it('what the file does not have, and what has another shape', () => {
    const model = small()
    const file = inPython(model.stateDict())
    file.delete('attn_layers.final_norm.gamma')
    file.set('attn_layers.layers.0.1.to_q.weight', ones([8, 8]))
    const load = (strict: boolean) => model.loadStateDict(file, { dialect, strict })
    expectThrows(() => load(true), 'invalid_checkpoint', 'norm.weight is missing')
    expectThrows(() => load(true), 'invalid_checkpoint', 'to_q.weight has shape [8,8]')
    expect(load(false)).toMatchObject({
      missing: ['norm.weight'],
      mismatched: [{ name: 'attn_layers.layers.0.1.to_q.weight', got: [8, 8] }],
    })
  })

  it('weights of another dialect', async () => {
    const model = small()
    const state = model.stateDict()
    const words = 'attn_layers.layers.0.0.0.weight is not in this model'
    expectThrows(() => model.loadStateDict(state, { dialect }), 'invalid_checkpoint', words)
    const other = inPython(state)
    expectThrows(() => model.loadStateDict(other), 'invalid_checkpoint', 'gamma is not in')
  })

  it('heads whose order counts', () => {
    const load = (layers: Options) => {
      const model = small(layers)
      return () => model.loadStateDict(inPython(model.stateDict()), { dialect })
    }
    const alibi = { attn_kv_heads: 2, alibi_pos_bias: true }
    expectThrows(load(alibi), 'not_available', 'alibi_pos_bias')
    const uneven = { attn_kv_heads: [2, 4], rel_pos_bias: true }
    expectThrows(load(uneven), 'not_available', 'attn_kv_heads that differs by layer')
    const residual = { attn_kv_heads: [2, 4], residual_attn: true }
    expectThrows(load(residual), 'not_available', 'residual_attn')
    const offsets = {
      attn_qk_rmsnorm: true,
      attn_qk_rmsnorm_add_unit_offset: [true, false],
    }
    expectThrows(load(offsets), 'not_available', 'attn_qk_rmsnorm_add_unit_offset')
    const bare = { attn_kv_heads: 2, attn_project_out: false, attn_dim_head: 4, heads: 4 }
    expectThrows(load({ ...bare, dim: 16 }), 'not_available', 'attn_project_out: false')
    expect(load({ ...alibi, attn_kv_heads: 1 })).not.toThrow()
  })

  it('a model of the own, and what is no dialect', () => {
    class Own extends OwnModule {
      readonly net = small()
      forward = (x: Tensor) => this.net.forward(x)
    }
    const own = new Own()
    const load = (options: object) => () => own.loadStateDict(own.stateDict(), options)
    expectThrows(load({ dialect }), 'invalid_argument', 'models of this package')
    expectThrows(load({ dialect: 'x-transformers-3' }), 'invalid_argument', 'dialect')
    expectThrows(load({ dialect: { name: 'jax' } }), 'invalid_argument', 'dialect.name')
    expectThrows(load({ dialect: { name: dialect, offset: true } }), 'invalid_options', 'offset')
    const wrong = new Map<string, Tensor>([['a', 1 as unknown as Tensor]])
    const numbersAlone = () => small().loadStateDict(wrong, { dialect })
    expectThrows(numbersAlone, 'invalid_checkpoint', 'a must be a Tensor')
  })
})

it('norms without offset are told by the dialect', () => {
  const make = () => {
    const attn_layers = new Decoder({ dim: 8, depth: 1, use_layerscale: true })
    return new TransformerWrapper({ num_tokens: 11, max_seq_len: 16, attn_layers })
  }
  const gamma = tensor([1, 2, 3, 4, 5, 6, 7, 8])
  const file = inPython(make().stateDict())
  const [norm, scale] = ['attn_layers.layers.0.0.0.gamma', 'attn_layers.layers.0.1.gamma']
  for (const name of [norm, scale]) {
    expect(file.has(name)).toBe(true)
    file.set(name, gamma)
  }
  const small = gamma.mul(2 ** -12)
  const half = new Map([...file, [norm, small.cast('bf16')], [scale, small.cast('f16')]])
  const wide = make()
  wide.loadStateDict(half, { dialect })
  for (const name of ['attn_layers.layers.0.0.0.weight', scale]) {
    const got = numbers(wide.stateDict().get(name) as Tensor)
    expect(got, `${name} of half precision`).toEqual(numbers(small).map((x) => x + 1))
  }
  for (const offset of [true, false]) {
    const model = make()
    model.loadStateDict(file, { dialect: { name: dialect, norm_add_unit_offset: offset } })
    for (const name of ['attn_layers.layers.0.0.0.weight', scale]) {
      const got = numbers(model.stateDict().get(name) as Tensor)
      expect(got, name).toEqual(numbers(gamma).map((x) => x + Number(offset)))
    }
  }
})
