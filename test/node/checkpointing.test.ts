// The peak of memory with gradient checkpointing, at the size that it is meant for.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  manualSeed,
  memory,
  randint,
  TransformerWrapper,
} from 'x-transformers'
import { numbers } from '../api/helpers.js'

/** The most bytes of weights, gradients and graph during a forward and its backward. */
async function peak(gradient_checkpointing: boolean): Promise<{ bytes: number; grads: number[] }> {
  manualSeed(1)
  const attn_layers = new Decoder({ dim: 256, depth: 24, heads: 4, gradient_checkpointing })
  const net = new TransformerWrapper({ num_tokens: 256, max_seq_len: 256, attn_layers })
  const model = new AutoregressiveWrapper(net)
  const before = memory().native_bytes
  let bytes = 0
  let running = true
  const watch = (async () => {
    while (running) {
      bytes = Math.max(bytes, memory().native_bytes - before)
      await sleep(1)
    }
  })()
  const loss = await model.forward(randint(0, 256, [8, 257]))
  await loss.backward()
  running = false
  await watch
  const first = model.parameters().slice(0, 6)
  const grads = first.flatMap(({ grad }) => (grad ? numbers(grad).slice(0, 9) : []))
  model.dispose()
  loss.dispose()
  return { bytes, grads }
}

it('gradient_checkpointing takes at most 45 % of the memory, and gives the same gradients', async () => {
  const plain = await peak(false)
  const own = await peak(true)
  console.info(`${(own.bytes / 2 ** 20) | 0} of ${(plain.bytes / 2 ** 20) | 0} MiB`)
  expect(own.bytes / plain.bytes).toBeLessThan(0.45)
  expect(plain.grads.length).toBeGreaterThan(30)
  own.grads.forEach((grad, i) => {
    expect(grad).toBeCloseTo(plain.grads[i] as number, 6)
  })
}, 120_000)
