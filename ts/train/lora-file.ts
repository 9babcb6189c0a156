/** Files with low-rank updates alone: the names of their tensors, and what they say of them. */
import { XTransformersError } from '../errors.js'
import type { LoraLayers } from '../module/submodule.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkLoRA, type LoRAOptions, scaleOf } from './lora-options.js'

/** What Python's `peft` puts before the names of the model. */
const PREFIX = 'base_model.model.'

/** With the names of `peft`. */
export const withPrefix = (tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map([...tensors].map(([name, tensor]) => [PREFIX + name, tensor]))

/** With the names of the model. */
export const unprefixed = (tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map(
    [...tensors].map(([name, tensor]) => [
      name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name,
      tensor,
    ]),
  )

/**
 * The layers of a file, with rank and factor. `given`: the settings of the factor, where the file
 * does not say it.
 *
 * @throws XTransformersError (`invalid_checkpoint`) where it is no such file; (`invalid_options`)
 *   where the factor is not known
 */
export function layersIn(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
  given: Pick<LoRAOptions, 'lora_alpha' | 'use_rslora'>,
): LoraLayers {
  const found = [...unprefixed(tensors)].flatMap(([name, { shape }]) => {
    const match = /^(?:(.*)\.)?lora_A\.weight$/.exec(name)
    return match ? [{ name: match[1] ?? '', r: shape[0] ?? 0 }] : []
  })
  const r = found[0]?.r
  if (r === undefined) {
    const message = 'this file has no tensor named `….lora_A.weight`: it is none with a LoRA'
    throw new XTransformersError('invalid_checkpoint', message)
  }
  if (found.some((layer) => layer.r !== r))
    throw new XTransformersError('invalid_checkpoint', 'the updates are of several ranks')
  return { modules: found.map(({ name }) => name), r, scale: scaleIn(metadata, r, given) }
}

function scaleIn(
  metadata: Readonly<Record<string, string>>,
  r: number,
  given: Pick<LoRAOptions, 'lora_alpha' | 'use_rslora'>,
): number {
  if (given.lora_alpha !== undefined) return scaleOf(checkLoRA({ ...given, r }))
  try {
    const { scale } = JSON.parse(metadata.lora ?? '') as { scale?: unknown }
    if (typeof scale === 'number' && scale > 0 && Number.isFinite(scale)) return scale
  } catch {
    // as for one that does not say it
  }
  throw new XTransformersError(
    'invalid_options',
    'this file does not say the factor of the updates: give lora_alpha, which stands in adapter_config.json',
  )
}
