/// <reference types="vite/client" />
/** Recordings of x-transformers 2 (test/x-transformers-2), on every platform. */
import { type Module, type Tensor, XTransformersError } from 'x-transformers'
import { fromXTransformers2 } from '../../ts/module/dialects/x-transformers-2.js'
import { ENTRIES, METADATA } from '../../ts/module/submodule.js'
import { type ModelSpec, toTensor } from '../parity/build.js'
import type { Adapter, Case } from '../parity/case.js'
import type { Stored } from '../parity/safetensors.js'

const cases = import.meta.glob<Case>('../x-transformers-2/*.json', { import: 'default' })
const files = import.meta.glob<string>('../x-transformers-2/*.safetensors', {
  query: '?url&inline',
  import: 'default',
})

type Options = Record<string, unknown>

/** The names of all cases. */
export const CASES: readonly string[] = Object.keys(cases)
  .map((path) => path.replace(/^.*\/(.*)\.json$/, '$1'))
  .sort()

export async function recordedCase(name: string): Promise<[Case, Uint8Array<ArrayBuffer>]> {
  const [spec, address] = await Promise.all([
    cases[`../x-transformers-2/${name}.json`]?.(),
    files[`../x-transformers-2/${name}.safetensors`]?.(),
  ])
  if (!spec || !address) throw new Error(`there is no case ${name} in test/x-transformers-2`)
  return [structuredClone(spec), new Uint8Array(await (await fetch(address)).arrayBuffer())]
}

/** The options of the layers inside a model. */
function layersOf({ class: name, kwargs }: ModelSpec): Options {
  if (name === 'Encoder' || name === 'Decoder') return kwargs
  return layersOf((kwargs.attn_layers ?? kwargs.net) as ModelSpec)
}

/** Norms of 2.x have no bias, are by default stored without 1, and the last one is the layers'. */
function normOptions(given: Options): Options {
  const { pre_norm = true, pre_and_post_norm = false, weight_tie_layers = false } = given
  const post = !pre_norm || pre_and_post_norm
  const last = post ? !weight_tie_layers : (given.pre_norm_has_final_norm ?? true)
  const one = given.use_scalenorm || given.use_simple_rmsnorm
  return {
    norm_bias: false,
    norm_add_unit_offset: !one && (given.norm_add_unit_offset ?? true),
    pre_norm_has_final_norm: last,
    wrapper_norm: Boolean(last),
  }
}

/** Rotary positions of 2.x: neighbouring features, no values, as few features as one likes. */
function rotaryOptions(given: Options): Options {
  if (!given.rotary_pos_emb && !given.rotary_xpos) return {}
  const width = (given.attn_dim_head ?? 64) as number
  const rotated = (given.rotary_emb_dim ?? Math.floor(width / 2)) as number
  return {
    rotary_emb_dim: null,
    rotary_partial_factor: rotated / width,
    rotary_interleaved: true,
    rotary_values: false,
    rotary_given_pos: true,
  }
}

/** Layers of 2.x in options of ours. */
function layerOptions({ depth_scale_residual, ...given }: Options): Options {
  return {
    ...given,
    ...normOptions(given),
    ...rotaryOptions(given),
    ...(depth_scale_residual !== undefined && { branch_scale: depth_scale_residual }),
    ...((given.attn_qk_rmsnorm ?? given.attn_k_rmsnorm) !== undefined && {
      attn_qk_rmsnorm_add_unit_offset: true,
      attn_qk_rmsnorm_eps: 0,
    }),
  }
}

/** A model of 2.x in options of ours. */
export function modelOf({ class: name, kwargs }: ModelSpec): ModelSpec {
  const inner = Object.entries(kwargs).map(([key, value]) => [
    key,
    key === 'net' || key === 'attn_layers' ? modelOf(value as ModelSpec) : value,
  ])
  const given: Options = Object.fromEntries(inner)
  if (name === 'Encoder' || name === 'Decoder') return { class: name, kwargs: layerOptions(given) }
  if (name !== 'TransformerWrapper') return { class: name, kwargs: given }
  const width = layersOf({ class: name, kwargs }).dim as number
  const tied = given.tie_embedding ? { tie_embedding_scale: width ** -0.5 } : {}
  return { class: name, kwargs: { logits_bias: false, ...tied, ...given } }
}

const offsetsOf = (spec: ModelSpec) => ({
  norm_add_unit_offset: (layersOf(spec).norm_add_unit_offset ?? true) as boolean,
})

/** The dialect of a recorded model. */
export const dialectOf = (spec: ModelSpec) =>
  ({ name: 'x-transformers-2', ...offsetsOf(spec) }) as const

/**
 * Gradients of weights in the file: those of the model's weights, carried back through the
 * operations that make these of the file's.
 */
async function gradientsOf(
  model: Module,
  weights: Map<string, Stored>,
  spec: ModelSpec,
): Promise<Map<string, Tensor>> {
  const leaves = [...weights].map(
    ([name, stored]) => [name, toTensor(stored, { requires_grad: true })] as const,
  )
  const { state } = fromXTransformers2(
    new Map(leaves),
    '',
    model[ENTRIES](),
    model[METADATA](),
    offsetsOf(spec),
  )
  const terms: Tensor[] = []
  for (const [name, parameter] of model.namedParameters()) {
    const made = state.get(name)
    if (parameter.grad && made?.requires_grad) terms.push(made.mul(parameter.grad).sum())
  }
  await terms.reduce((total, term) => total.add(term)).backward()
  return new Map(leaves.flatMap(([name, leaf]) => (leaf.grad ? [[name, leaf.grad]] : [])))
}

/** Recordings of models of 2.x. */
export const X_TRANSFORMERS_2: Adapter = {
  model: modelOf,
  load(model, weights, spec) {
    const result = model.loadStateDict(weights, { dialect: dialectOf(spec) })
    if (result.missing.length + result.unexpected.length > 0)
      throw new XTransformersError('invalid_checkpoint', JSON.stringify(result))
  },
  gradients: gradientsOf,
}

/** A second row that begins at position 4: what is before sees no key, and means nothing. */
export const FROM_START: Adapter = {
  ...X_TRANSFORMERS_2,
  output(_name, { shape, data }) {
    const [rows, columns, width] = shape as [number, number, number]
    const size = columns * width
    const kept = [...data].filter((_, i) => i < size || i >= size + 4 * width)
    return { shape: [rows * size - 4 * width], data: Float32Array.from(kept, Number) }
  },
}
