import { expect, it } from 'vitest'
import { type Module, memory, randint, type Tensor, type TransformerWrapper } from 'x-transformers'
import { collect } from '../api/helpers.js'
import { SLOW } from '../slow.js'
import type { Heading } from './headings.js'

/** Less than the smallest model of a sample, so that a leak of any of them is detected. */
const LEFT_OVER = 32e6

/** Those that `npm test` runs: one of each suite, which may not be empty. */
const OFTEN: readonly Heading[] = [
  'Decoder-only (GPT-like): GPT-3',
  'State of the art image classification',
  'Cosine Sim Attention: groups',
  'GLU Variants Improve Transformer: SwiGLU',
  'Shifted Tokens: by sub-layer',
  'Memory Transformers',
  'Dynamic Positional Bias',
  'Enhanced recurrence',
  'Cross Attention',
]

/** A sample of the Python README as a test, which frees its memory afterwards. */
export function sample(heading: Heading, run: () => Promise<void>): void {
  if (!SLOW && !OFTEN.includes(heading)) return
  it(heading, async () => {
    await run()
    await collect()
    expect(memory().native_bytes).toBeLessThan(LEFT_OVER)
  })
}

/** Checks the shape, and that no value is infinite or not a number. */
export async function expectFinite(x: Tensor, shape: readonly number[]): Promise<void> {
  expect(x.shape).toEqual(shape)
  // one bad value makes the sum bad
  using sum = x.sum()
  expect(Number.isFinite(sum.item())).toBe(true)
}

/** Runs a model that its sample only builds: logits of one sequence of maximum length. */
export async function expectLogits(model: TransformerWrapper, length?: number): Promise<void> {
  const { num_tokens, max_seq_len } = model.options
  const x = randint(0, num_tokens, [1, length ?? max_seq_len])
  using logits = await model.forward(x)
  await expectFinite(logits, [...x.shape, num_tokens])
}

/**
 * Runs backward from a loss: every parameter gets a finite gradient, except the encoder's head,
 * which is unused (also in Python).
 */
export async function expectTrains(model: Module, loss: Tensor): Promise<void> {
  await expectFinite(loss, [])
  await loss.backward()
  for (const [name, parameter] of model.namedParameters()) {
    if (name.startsWith('encoder.to_logits')) continue
    using gradient = parameter.grad
    expect(gradient, `${name} has no gradient`).not.toBeNull()
    if (gradient) await expectFinite(gradient, parameter.shape)
  }
}
