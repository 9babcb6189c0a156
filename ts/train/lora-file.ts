/** Files with low-rank updates alone: the names of their tensors, and what they say of them. */
import { shortened, XTransformersError } from '../errors.js'
import type { LoRALayers } from '../module/submodule.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkLoRA, type LoRAOptions, scaleOf } from './lora-options.js'

/** What Python's `peft` puts before the names of the model. */
const PREFIX = 'base_model.model.'

type Tensors = ReadonlyMap<string, Tensor>
type Metadata = Readonly<Record<string, string>>
/** The settings of the factor, where the file does not say it. */
type Factor = Pick<LoRAOptions, 'lora_alpha' | 'use_rslora'>

/** With the names of `peft`. */
export const withPrefix = (tensors: Tensors): Map<string, Tensor> =>
  new Map([...tensors].map(([name, tensor]) => [PREFIX + name, tensor]))

/** With the names of the model. */
export const unprefixed = (tensors: Tensors): Map<string, Tensor> =>
  new Map(
    [...tensors].map(([name, tensor]) => [
      name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name,
      tensor,
    ]),
  )

const broken = (message: string) => new XTransformersError('invalid_checkpoint', message)

/**
 * The layers of a file, with rank and factor.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where it is no such file; (`invalid_options`)
 *   where the factor is not known
 */
export function layersIn(tensors: Tensors, metadata: Metadata, given: Factor): LoRALayers {
  const ranks = new Map<number, string[]>()
  for (const [name, { shape }] of unprefixed(tensors)) {
    const match = /^(?:(.*)\.)?lora_A\.weight$/.exec(name)
    const [r = 0] = shape
    if (match) ranks.set(r, [...(ranks.get(r) ?? []), match[1] ?? ''])
  }
  const [first, ...others] = ranks
  if (!first)
    throw broken('this file has no tensor named `….lora_A.weight`: it is none with a LoRA')
  if (others.length > 0) {
    const sorted = [...ranks].sort(([a], [b]) => a - b)
    const examples = sorted.map(([r, [layer]]) => `r ${r} (${layer})`).join(', ')
    throw broken(
      `LoRA reads files with one rank, this one has several: ${examples}. rank_pattern of peft is not supported: train with one r for all layers`,
    )
  }
  const [r, modules] = first
  return { modules, r, scale: scaleIn(metadata, r, given) }
}

/** The factor that a file says; null for one that does not, such as those of `peft`. */
export function scaleOfFile(metadata: Metadata): number | null {
  try {
    const { scale } = JSON.parse(metadata.lora ?? '') as { scale?: unknown }
    return typeof scale === 'number' && scale > 0 && Number.isFinite(scale) ? scale : null
  } catch {
    return null
  }
}

function scaleIn(metadata: Metadata, r: number, { lora_alpha, use_rslora }: Factor): number {
  const rs = use_rslora ?? undefined
  if (lora_alpha !== undefined && lora_alpha !== null)
    return scaleOf(checkLoRA({ lora_alpha, use_rslora: rs, r }))
  if (checkLoRA({ use_rslora: rs }).use_rslora)
    throw new XTransformersError(
      'invalid_options',
      'use_rslora says how the factor follows from lora_alpha: give lora_alpha too',
    )
  const scale = scaleOfFile(metadata)
  if (scale !== null) return scale
  throw new XTransformersError(
    'invalid_options',
    'this file does not say the factor of the updates: give lora_alpha, which stands in adapter_config.json',
  )
}

/**
 * The matrices of a file by their names in the model.
 *
 * @param shapes those that the model needs
 * @throws XTransformersError (`invalid_checkpoint`) with every problem
 */
export function fitMatrices(
  tensors: Tensors,
  shapes: ReadonlyMap<string, readonly number[]>,
): Map<string, Tensor> {
  const state = unprefixed(tensors)
  const missing = [...shapes.keys()].filter((name) => !state.has(name))
  const others = [...state.keys()].filter((name) => !shapes.has(name))
  const mismatched = [...state].flatMap(([name, { shape }]) => {
    const wanted = shapes.get(name)
    if (wanted === undefined || String(wanted) === String(shape)) return []
    return `${name} has shape [${shape}], this LoRA needs [${wanted}]`
  })
  const problems = [
    ...shortened(mismatched),
    ...shortened(missing.map((name) => `${name} is missing`)),
    ...shortened(others.map((name) => `${name} belongs to no layer of this LoRA${causeOf(name)}`)),
  ]
  if (problems.length === 0) return state
  const lines = problems.map((line) => `  ${line}`).join('\n')
  throw broken(`the file does not fit this LoRA:\n${lines}`)
}

/** Why `peft` writes other tensors than matrices of linear layers. */
function causeOf(name: string): string {
  if (/lora_embedding_[AB]/.test(name)) return ': updates of embeddings are not supported'
  if (/lora_[AB]\./.test(name)) return ''
  if (/\.bias$/.test(name)) return ": biases that peft's bias option trains are not supported"
  return ": whole layers of peft's modules_to_save are not supported"
}
