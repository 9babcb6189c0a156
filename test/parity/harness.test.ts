import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Case } from './case.js'
import { compare, compareNames, compareNumbers } from './compare.js'
import { digest } from './digest.js'
import { runFixture } from './harness.js'
import { readSafetensors, type Stored } from './safetensors.js'
import type { Trace } from './trace.js'

const floats = (...values: number[]): Stored => ({
  shape: [values.length],
  data: Float32Array.from(values),
})
const ints = (...values: number[]): Stored => ({
  shape: [values.length],
  data: BigInt64Array.from(values.map(BigInt)),
})
const ratio = (got: Stored, want: Stored, floor = 0.01) =>
  compare('x', got, want, 1e-2, floor).ratio

describe('the error measure', () => {
  it('divides the largest error by the largest value, or by the floor', () => {
    expect(ratio(floats(1, 4.02), floats(1, 4))).toBeCloseTo(0.5, 4)
    expect(ratio(floats(0.001), floats(0), 0.1)).toBeCloseTo(1, 4)
  })
  it('always counts NaN as a difference', () => {
    expect(ratio(floats(Number.NaN), floats(1))).toBe(Number.POSITIVE_INFINITY)
    expect(ratio(floats(Number.NaN), floats(Number.NaN))).toBe(Number.POSITIVE_INFINITY)
  })
  it('requires infinities at the same positions', () => {
    const low = Number.NEGATIVE_INFINITY
    expect(ratio(floats(low, 1), floats(low, 1))).toBe(0)
    expect(ratio(floats(1, low), floats(low, 1))).toBe(Number.POSITIVE_INFINITY)
    expect(ratio(floats(-low, 1), floats(low, 1))).toBe(Number.POSITIVE_INFINITY)
  })
  it('requires equal integers, shapes and types', () => {
    expect(ratio(ints(1, 2), ints(1, 2))).toBe(0)
    expect(ratio(ints(1, 3), ints(1, 2))).toBe(Number.POSITIVE_INFINITY)
    expect(ratio(floats(1, 2), floats(1))).toBe(Number.POSITIVE_INFINITY)
    expect(ratio(floats(1), ints(1))).toBe(Number.POSITIVE_INFINITY)
  })
  it('reports missing and unexpected names and numbers', () => {
    expect(compareNames('x', ['a', 'b'], ['b', 'c']).reason).toBe('missing: c; not expected: a')
    expect(compareNumbers('x', [1], [1, 1], 1).ratio).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('a modified fixture', () => {
  const golden = (file: string) => readFileSync(new URL(`../golden/${file}`, import.meta.url))
  const read = <T extends Case | Trace>(name: string): [T, Map<string, Stored>] => [
    JSON.parse(golden(`${name}.json`).toString()),
    readSafetensors(golden(`${name}.safetensors`)),
  ]
  const corrupt = (data: Map<string, Stored>, name: string) => {
    const values = data.get(name)?.data as Float32Array
    values[0] = (values[0] as number) + 10
  }

  it.each(['out.logits', 'grad.to_logits.weight', 'param.to_logits.bias'])(
    'fails: %s changed',
    async (name) => {
      const [spec, data] = read<Case>('class-decoder')
      corrupt(data, name)
      expect((await runFixture(spec, data)).status).toBe('failed')
    },
  )
  it.each(['out.logits', 'grad.to_logits.bias'])('fails: %s not recorded', async (name) => {
    const [spec, data] = read<Case>('class-decoder')
    data.delete(name)
    const report = await runFixture(spec, data)
    expect(report).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('not expected'),
    })
  })
  it('fails: another weight at the end of a trace', async () => {
    const [spec, data] = read<Trace>('train-adamw-clip')
    corrupt(data, 'end.net.to_logits.bias')
    const report = await runFixture(spec, data)
    expect(report).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('end.net.to_logits.bias'),
    })
  })
  it('fails, and is not skipped: an option that does not exist', async () => {
    const [spec, data] = read<Case>('class-decoder')
    const layers = spec.models.model?.kwargs.attn_layers as { kwargs: Record<string, unknown> }
    layers.kwargs.no_such_option = true
    expect((await runFixture(spec, data)).status).toBe('failed')
  })
})

describe('a digest', () => {
  const run = async (name: string, change: (data: Map<string, Stored>) => void) => {
    const golden = (file: string) => readFileSync(new URL(`../golden/${file}`, import.meta.url))
    const data = readSafetensors(golden(`${name}.safetensors`))
    change(data)
    const { observe, value } = digest()
    await runFixture(JSON.parse(golden(`${name}.json`).toString()), data, observe)
    return value()
  }
  const nothing = digest().value()

  it.each([
    ['class-decoder', 'param.to_logits.bias'],
    ['train-adamw-clip', 'start.net.to_logits.bias'],
  ])('is equal for equal results only: %s', async (name, weight) => {
    const plain = await run(name, () => {})
    expect(plain).not.toBe(nothing)
    expect(await run(name, () => {})).toBe(plain)
    const slightly = (data: Map<string, Stored>) => {
      const values = data.get(weight)?.data as Float32Array
      values[0] = (values[0] as number) + 1e-6
    }
    expect(await run(name, slightly)).not.toBe(plain)
  })
})
