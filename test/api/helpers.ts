import { expect } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  memory,
  type Nested,
  type Tensor,
  TransformerWrapper,
  tensor,
} from 'x-transformers'

export const VOCABULARY = 11

/** A decoder small enough to train quickly. */
export function smallNet(
  layers: Partial<ConstructorParameters<typeof Decoder>[0]> = {},
): TransformerWrapper {
  return new TransformerWrapper({
    num_tokens: VOCABULARY,
    max_seq_len: 16,
    attn_layers: new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8, ...layers }),
  })
}

export function smallModel(
  layers: Partial<ConstructorParameters<typeof Decoder>[0]> = {},
): AutoregressiveWrapper {
  return new AutoregressiveWrapper(smallNet(layers))
}

/** A model whose step takes long enough to observe what else happens meanwhile. */
export function largerModel(): AutoregressiveWrapper {
  return new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: 256,
      max_seq_len: 256,
      attn_layers: new Decoder({ dim: 256, depth: 4, heads: 4 }),
    }),
  )
}

/** Bytes of tensors, weights and graphs, on the CPU and on GPUs. */
export function bytesInUse(): number {
  const { native_bytes, gpu_bytes } = memory()
  return native_bytes + gpu_bytes
}

/** Token ids 0, 1, 2, ... in rows. */
export function ids(rows: number, columns: number, vocabulary = VOCABULARY): Tensor {
  const data = Array.from({ length: rows * columns }, (_, i) => (i * 7 + 3) % vocabulary)
  return tensor(data, { shape: [rows, columns], dtype: 'i64' })
}

export const flat = (values: Nested): number[] =>
  Array.isArray(values) ? values.flatMap(flat) : [Number(values)]

export const numbers = (x: Tensor): number[] => Array.from(x.dataSync(), Number)

export function expectClose(
  got: readonly number[],
  want: readonly number[],
  tolerance = 1e-5,
): void {
  expect(got.length).toBe(want.length)
  for (const [i, value] of want.entries()) {
    expect(
      Math.abs((got[i] as number) - value),
      `element ${i}: ${got[i]}, expected ${value}`,
    ).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(value)))
  }
}

/** Gradients of a scalar by central differences, in f64. */
export function numericGradients(
  inputs: Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
  step = 1e-5,
): number[][] {
  return inputs.map((input, which) => {
    const values = numbers(input)
    return values.map((_, i) => {
      const at = (delta: number) => {
        const moved = values.with(i, (values[i] as number) + delta)
        const changed = tensor(Float64Array.from(moved), { shape: input.shape })
        return fn(...inputs.with(which, changed)).item() as number
      }
      return (at(step) - at(-step)) / (2 * step)
    })
  })
}

/** A weighted sum, so that all elements of a result have different gradients. */
export function weighted(x: Tensor): Tensor {
  const size = x.shape.reduce((a, b) => a * b, 1)
  const weights = Float64Array.from({ length: size }, (_, i) => Math.sin(i + 1) + 0.3)
  return x.mul(tensor(weights, { shape: x.shape })).sum()
}

/** An iteration of the event loop, in which finalizers run. */
export const nextTask = () => new Promise<void>((resolve) => setTimeout(resolve))

/** Collects garbage, finalizers included; needs --expose-gc. */
export async function collect(): Promise<void> {
  expect(globalThis.gc, 'the flag --expose-gc').toBeTypeOf('function')
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Expects `run` to throw an error with this code and words. */
export function expectThrows(run: () => unknown, code: string, words: string): void {
  const message = expect.stringContaining(words)
  expect(run).toThrow(expect.objectContaining({ code, message }))
}
