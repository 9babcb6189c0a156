/** The weights of a model as tensors of a file. */
import type { Module } from '../../module/module.js'
import type { DType } from '../../native/native.js'
import { noGrad } from '../../tensor/grad-mode.js'
import { tidy } from '../../tensor/memory.js'
import type { Tensor } from '../../tensor/tensor.js'
import type { Place } from './load.js'
import type { Step } from './rules.js'

/** A tensor of a file, before it is made. */
export interface Outgoing {
  name: string
  /** Elements. */
  size: number
  place: Place
  step: Step
  /** Which of the tensors of the step it is. */
  index: number
}

/** All tensors of the places, in the order of the rules. */
export const outgoing = (places: readonly Place[], names: ReadonlyMap<string, string>) =>
  places.flatMap((place) =>
    place.steps.flatMap((step) =>
      step.theirs.map((name, index): Outgoing => {
        const size = (step.shapes[index] ?? []).reduce((a, b) => a * b, 1)
        return { name: names.get(name) ?? name, size, place, step, index }
      }),
    ),
  )

function weightsOf(module: Module, { ours }: Step): Tensor[] {
  const state = module.stateDict()
  return ours.map((name) => state.get(name) as Tensor)
}

/** The tensors of a step, in a type. They may be the weights themselves. */
function made({ place, step }: Outgoing, dtype: DType): Tensor[] {
  const weights = weightsOf(place.module, step)
  const typed = (tensor: Tensor) => (tensor.dtype === dtype ? tensor : tensor.cast(dtype))
  if (step.plain) return noGrad(() => weights.map(typed))
  // copies: what is written at once must not be a view of one that is gone
  return noGrad(() => tidy(() => step.how.save(weights, step.shapes).map((x) => typed(x).clone())))
}

/**
 * Runs `use` with the tensors of a part of the files, which are made before it and freed after it.
 */
export async function withTensors(
  part: readonly Outgoing[],
  dtype: DType,
  use: (tensors: ReadonlyMap<string, Tensor>) => Promise<void>,
): Promise<void> {
  const tensors = new Map<string, Tensor>()
  const steps = new Map<Step, Tensor[]>()
  const own = new Set(part.flatMap(({ place, step }) => weightsOf(place.module, step)))
  try {
    for (const one of part) {
      const all = steps.get(one.step) ?? made(one, dtype)
      steps.set(one.step, all)
      tensors.set(one.name, all[one.index] as Tensor)
    }
    await use(tensors)
  } finally {
    for (const tensor of [...steps.values()].flat()) if (!own.has(tensor)) tensor.dispose()
  }
}

/** Parts of at most so many bytes, but for single tensors that are longer. */
export function inParts(tensors: readonly Outgoing[], bytes: number, width: number): Outgoing[][] {
  const parts: Outgoing[][] = [[]]
  let filled = 0
  for (const tensor of tensors) {
    const size = tensor.size * width
    if (filled > 0 && filled + size > bytes) {
      parts.push([])
      filled = 0
    }
    parts.at(-1)?.push(tensor)
    filled += size
  }
  return parts
}
