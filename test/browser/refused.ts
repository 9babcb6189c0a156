// Calls that exceed memory, and what must still work afterwards.
import { expect } from 'vitest'
import { AdamW, type AutoregressiveWrapper, memory, XTransformersError } from 'x-transformers'
import { single } from '../../ts/wasm/single.js'
import { ids, smallModel } from '../api/helpers.js'

const MEGABYTE = 2 ** 20
const UNITS = { MiB: 2 ** -10, GiB: 1 }

/**
 * Bytes of the WebAssembly memory, which never shrinks. The instance exists already: this gives its
 * exports.
 */
export const instanceSize = () => single.initSync({} as never).memory.buffer.byteLength

const SIZE = /(\d+(?:\.\d+)?) (MiB|GiB)/g

/** The sizes that a message contains, in GiB. */
const sizesIn = (message: string) =>
  [...message.matchAll(SIZE)].map(
    ([, number, unit]) => Number(number) * UNITS[unit as keyof typeof UNITS],
  )

async function failure(run: () => unknown): Promise<unknown> {
  try {
    await run()
  } catch (error) {
    return error
  }
  return expect.fail('it was not refused')
}

/**
 * Expects `out_of_memory` with the needed size (in GiB, `least` to `most`) and the available size,
 * in less than a second and without an attempt. Up to `left` bytes may remain until garbage
 * collection.
 */
export async function expectRefused(
  run: () => unknown,
  least: number,
  most = Number.POSITIVE_INFINITY,
  left = MEGABYTE,
): Promise<void> {
  const before = { instance: instanceSize(), native: memory().native_bytes }
  const start = performance.now()
  const error = await failure(run)
  const seconds = (performance.now() - start) / 1000
  expect(error).toBeInstanceOf(XTransformersError)
  const { code, message } = error as XTransformersError
  expect(code, message).toBe('out_of_memory')
  expect(message).toMatch(/needs .*\b(available|free)\b/)
  const [needed, available] = sizesIn(message) as [number, number]
  expect(needed, message).toBeGreaterThanOrEqual(least)
  expect(needed, message).toBeLessThanOrEqual(most)
  expect(available, message).toBeLessThanOrEqual(4)
  expect(available, message).toBeLessThanOrEqual(needed)
  expect(seconds).toBeLessThan(1)
  expect(instanceSize() - before.instance).toBeLessThan(256 * MEGABYTE)
  expect(memory().native_bytes - before.native).toBeLessThan(left)
}

/** An existing model, and its results. */
export class Bystander {
  private constructor(
    readonly model: AutoregressiveWrapper,
    readonly loss: unknown,
  ) {}

  static async make(): Promise<Bystander> {
    const model = smallModel()
    return new Bystander(model, (await model.forward(ids(2, 9))).item())
  }

  /** Computes the same as before, and trains; so does a new model. */
  async expectWell(): Promise<void> {
    expect((await this.model.forward(ids(2, 9))).item()).toBe(this.loss)
    const other = smallModel()
    other.loadStateDict(this.model.stateDict())
    const optimizer = new AdamW(other.parameters(), { lr: 1e-2 })
    const loss = await other.forward(ids(2, 9))
    expect(loss.item()).toBe(this.loss)
    await loss.backward()
    await optimizer.step()
    expect((await other.forward(ids(2, 9))).item()).toBeLessThan(this.loss as number)
  }
}
