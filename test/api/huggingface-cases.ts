/** What is compared with the recordings of Python's transformers. */
import { expect } from 'vitest'
import { type Nested, type Tensor, type TransformerWrapper, tensor } from 'x-transformers'
import {
  type FromHuggingFace,
  fromHuggingFace,
  type HuggingFaceModel,
} from 'x-transformers/huggingface'
import { originFor, placesFor } from '../../ts/huggingface/places.js'
import { flat, numbers } from './helpers.js'
import { filesOf, type Recorded } from './huggingface.js'

/** The model of a case, in f32. */
export const loadCase = async <M extends HuggingFaceModel = TransformerWrapper>(
  recorded: Recorded,
): Promise<FromHuggingFace<M>> => await fromHuggingFace<M>(await filesOf(recorded))

export const ids = (rows: number[][]) =>
  tensor(rows.flat(), { shape: [rows.length, rows[0]?.length ?? 0], dtype: 'i64' })

export const maskOf = (rows: number[][]) => ids(rows).cast('bool')

/** Expects all values within an absolute distance. */
export function expectNear(got: Tensor, want: Nested, tolerance = 3e-5): void {
  const [a, b] = [numbers(got), flat(want)]
  expect(a.length).toBe(b.length)
  const worst = Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))))
  expect(worst, 'the largest difference').toBeLessThanOrEqual(tolerance)
}

/** As {@link expectNear}, at the positions that are real: (batch, length, ...), (batch, length). */
export function expectNearWhere(got: Tensor, want: Nested[][], mask: number[][]): void {
  for (const [row, real] of mask.entries()) {
    for (const [at, one] of real.entries()) {
      if (one === 0) continue
      expectNear(got.select(0, row).select(0, at), want[row]?.[at] as Nested)
    }
  }
}

/** sin(1), sin(2), ... in the shape of a tensor, in f64. */
export const probeOf = ({ shape }: Tensor) => {
  const size = shape.reduce((a, b) => a * b, 1)
  return tensor(
    Float64Array.from({ length: size }, (_, i) => Math.sin(i + 1)),
    { shape },
  )
}

/** The gradients under the names of the files, as f64. */
function gradientsOf({ model }: FromHuggingFace<HuggingFaceModel>): Map<string, Tensor> {
  const origin = originFor(model)
  const gradients = new Map<string, Tensor>()
  for (const { module, steps } of placesFor(model, origin)) {
    const state = module.stateDict()
    for (const { theirs, ours, how, shapes } of steps) {
      const own = ours.map((name) => state.get(name)?.grad?.cast('f64') ?? null)
      if (own.includes(null)) continue
      const all = how.save(own as Tensor[], shapes)
      for (const [i, name] of theirs.entries())
        gradients.set(origin.names?.get(name) ?? name, all[i] as Tensor)
    }
  }
  return gradients
}

/**
 * Expects the recorded norms and probes of all gradients, 1e-3 of the norms. A bias of all keys
 * changes no weight of attention, so that its gradient is what f32 has lost of larger ones.
 */
export function expectGradients(
  loaded: FromHuggingFace<HuggingFaceModel>,
  want: Record<string, [norm: number, probe: number]>,
): void {
  const gradients = gradientsOf(loaded)
  expect(Object.keys(want).length).toBeGreaterThan(5)
  const lost = 1e-6 * Math.max(...Object.values(want).map(([norm]) => norm))
  for (const [name, [norm, probe]] of Object.entries(want)) {
    const grad = gradients.get(name)
    expect(grad, `the gradient of ${name}`).toBeDefined()
    const got = [grad?.norm().item(), grad?.mul(probeOf(grad)).sum().item()] as number[]
    const differences = got.map((value, i) => Math.abs(value - (i === 0 ? norm : probe)))
    expect(Math.max(...differences), name).toBeLessThanOrEqual(Math.max(1e-3 * norm, lost))
  }
}
