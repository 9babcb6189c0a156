/// <reference types="vite/client" />
import { describe, expect, it } from 'vitest'
import {
  arange,
  clipGradNorm,
  constant,
  cosineWarmup,
  crossEntropy,
  type DType,
  full,
  inverseSqrt,
  linearDecay,
  linearWarmup,
  mse,
  ones,
  rand,
  randint,
  randn,
  type Tensor,
  tensor,
  warmupStableDecay,
  zeros,
} from 'x-transformers'
import { numbers } from './helpers.js'

/** The results of PyTorch, written by `test/numbers/record.py`. */
const texts = import.meta.glob<string>('../numbers/pytorch.jsonl', {
  query: '?raw',
  import: 'default',
  eager: true,
})

type Value = number | boolean | string
interface Written {
  dtype: DType
  shape: number[]
  data: Value[]
}
interface Case {
  op: string
  inputs: Written[]
  args: unknown[]
  result: Written | null
}

const CASES = Object.values(texts).flatMap((text) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Case),
)

/** Large integers, NaN and the infinities are strings. */
const value = (x: unknown, dtype: DType) =>
  typeof x !== 'string' ? x : dtype === 'i64' && /^-?\d+$/.test(x) ? BigInt(x) : Number(x)
const made = ({ dtype, shape, data }: Written) =>
  tensor(data.map((x) => value(x, dtype)) as number[], { dtype, shape })
const isWhole = (dtype: DType | undefined) => dtype === 'i64' || dtype === 'u8' || dtype === 'bool'

/** Errors here where PyTorch gives a result, with the pattern of the message. */
function refusal({ op, inputs: [x, y], args }: Case): RegExp | null {
  const [by] = args
  if (!isWhole(x?.dtype)) {
    const mixed = y !== undefined && isWhole(y.dtype) && op !== 'div' && op !== 'crossEntropy'
    return mixed ? /types .* differ/ : null
  }
  if (/^(eq|ne|lt|le|gt|ge|div)$/.test(op)) return null
  if (typeof by === 'number' && !Number.isInteger(by)) return /cast the tensor to f32 first/
  // PyTorch gives 0, 1 or -1
  if (op === 'pow' && y?.data.some((e) => Number(e) < 0)) return /is no whole number/
  return null
}

/**
 * Results here where PyTorch raises: beside a number, booleans count as numbers in a difference
 * too.
 */
const given = ({ op, inputs: [x, y] }: Case) =>
  x?.dtype === 'bool' && (op === 'argmax' || (op === 'sub' && y === undefined))

const TOLERANCE: Partial<Record<DType, number>> = { f32: 2e-6, f64: 1e-12, f16: 2e-3, bf16: 2e-2 }

function close(got: unknown, want: unknown, dtype: DType): boolean {
  const [a, b] = [Number(got), Number(want)]
  if (isWhole(dtype)) return typeof want === 'bigint' ? got === want : a === b
  if (Object.is(a, b) || a === b) return true
  return Math.abs(a - b) <= (TOLERANCE[dtype] ?? 0) * Math.max(1, Math.abs(b))
}

/** The result of the operation, or its error. */
function ours({ op, inputs, args }: Case): Tensor | Error {
  const [x, ...others] = inputs.map(made) as [Tensor, ...Tensor[]]
  const all = args.map((arg) =>
    arg === null ? undefined : op === 'cast' ? arg : value(arg, 'f64'),
  )
  try {
    const run = x[op as 'add'] as (...args: unknown[]) => Tensor
    return op === 'gather'
      ? x.gather(all[0] as number, others[0] as Tensor)
      : run.call(x, ...others, ...all)
  } catch (error) {
    return error as Error
  }
}

function difference(each: Case): string | null {
  const result = ours(each)
  const refused = refusal(each)
  if (refused !== null || (each.result === null && !given(each))) {
    if (!(result instanceof Error)) return `gave ${result}`
    const { code } = result as Error & { code: string }
    if (code !== 'invalid_tensor') return `${code}: ${result.message}`
    return refused === null || refused.test(result.message) ? null : result.message
  }
  if (result instanceof Error) return result.message
  if (each.result === null) return null
  const { dtype, shape, data } = each.result
  if (result.dtype !== dtype || String(result.shape) !== String(shape)) return `gave ${result}`
  const got = result.dataSync()
  return data.every((x, i) => close(got[i], value(x, dtype), dtype)) ? null : `gave ${result}`
}

describe('integers, booleans, NaN and empty tensors are as in PyTorch', () => {
  const names = [...new Set(CASES.map(({ op }) => op))]

  it('finds the recorded cases', () => {
    expect(CASES.length).toBeGreaterThan(1000)
    expect(names.length).toBeGreaterThan(25)
  })

  it.each(names)('%s', (name) => {
    const own = CASES.filter(({ op }) => op === name)
    const wrong = own.flatMap((each) => {
      const found = difference(each)
      return found === null ? [] : [`${JSON.stringify(each)}: ${found}`]
    })
    expect(wrong).toEqual([])
  })
})

const WHOLE = ['i64', 'u8', 'bool'] as const
const FLOATS = ['f32', 'f64', 'f16', 'bf16'] as const

describe('integers', () => {
  it('are summed in 64 bits', () => {
    for (const dtype of WHOLE) {
      const x = ones([300, 2], { dtype })
      expect(x.sum().item()).toBe(600)
      expect([x.sum(0).dtype, x.sum(0).toArray()]).toEqual(['i64', [300, 300]])
      expect(x.transpose().sum(-1).toArray()).toEqual([300, 300])
      expect(zeros([2, 0], { dtype }).sum(1).toArray()).toEqual([0, 0])
      expect(() => x.mean()).toThrow(
        new RegExp(`mean needs floating-point values, got ${dtype}: cast`),
      )
    }
    expect(full([300], 255, { dtype: 'u8' }).sum().item()).toBe(76_500)
  })

  it('of half precision are summed and averaged in f32', () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      const x = ones([4096, 3], { dtype })
      expect(x.sum(0).toArray()).toEqual([4096, 4096, 4096])
      expect(x.mean().item()).toBe(1)
      expect(ones([70_000], { dtype }).mean().item()).toBe(1)
      expect(x.sum(0).dtype).toBe(dtype)
    }
  })

  it.each([
    ['full of 300', () => full([2], 300, { dtype: 'u8' })],
    ['full of -1', () => full([2], -1, { dtype: 'u8' })],
    ['full of a fraction', () => full([2], 1.5, { dtype: 'i64' })],
    ['full of 2', () => full([2], 2, { dtype: 'bool' })],
    ['full of NaN', () => full([2], Number.NaN, { dtype: 'i64' })],
    ['full beyond 64 bits', () => full([2], 1e19, { dtype: 'i64' })],
    ['randint to 300', () => randint(0, 300, [4], { dtype: 'u8' })],
    ['randint from -1', () => randint(-1, 5, [4], { dtype: 'u8' })],
    ['randint to 3', () => randint(0, 3, [4], { dtype: 'bool' })],
    ['randint of f16', () => randint(0, 70_000, [4], { dtype: 'f16' })],
    ['randint of f32', () => randint(0, 2 ** 26, [4], { dtype: 'f32' })],
    ['arange to 300', () => arange(0, 300, 1, { dtype: 'u8' })],
    ['arange from -2', () => arange(-2, 3, 1, { dtype: 'u8' })],
    ['arange of bool', () => arange(0, 3, 1, { dtype: 'bool' })],
    ['tensor of 300', () => tensor([300], { dtype: 'u8' })],
    ['where with 300', () => tensor([true]).where(ones([1], { dtype: 'u8' }), 300)],
    ['add of 300', () => ones([1], { dtype: 'u8' }).add(300)],
    ['add of -1', () => ones([1], { dtype: 'u8' }).add(-1)],
    ['maximum with 300', () => ones([1], { dtype: 'u8' }).maximum(300)],
    ['add of a fraction', () => ones([1], { dtype: 'i64' }).add(0.5)],
    ['add of NaN', () => ones([1], { dtype: 'i64' }).add(Number.NaN)],
    ['add beyond 64 bits', () => ones([1], { dtype: 'i64' }).add(1e19)],
    // on a GPU, the read is the error
    ['a cast of NaN', () => tensor([1, Number.NaN]).cast('i64').toArray()],
    ['a cast of an infinity', () => tensor([Number.POSITIVE_INFINITY]).cast('u8').toArray()],
    ['a cast from beyond 64 bits', () => tensor([1e19]).cast('i64').toArray()],
    ['a difference of truth values', () => tensor([true]).sub(tensor([true]))],
    ['the negative of a truth value', () => tensor([true]).neg()],
    ['a negative power', () => ones([1], { dtype: 'i64' }).pow(-1)],
    ['a square root', () => ones([1], { dtype: 'i64' }).sqrt()],
    ['a mean squared error', () => mse(ones([1], { dtype: 'i64' }), zeros([1], { dtype: 'i64' }))],
  ])('reject %s', (_, make) => {
    expect(make).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^invalid_(tensor|argument)$/) }),
    )
  })

  it('are created up to the limits of their types', () => {
    expect(full([1], 255, { dtype: 'u8' }).item()).toBe(255)
    expect(full([1], 2 ** 53, { dtype: 'i64' }).dataSync()).toEqual(BigInt64Array.of(2n ** 53n))
    expect(arange(0, 256, 1, { dtype: 'u8' }).shape).toEqual([256])
    expect(arange(0, 256, 255, { dtype: 'u8' }).toArray()).toEqual([0, 255])
    const drawn = randint(0, 256, [20_000], { dtype: 'u8' })
    expect([drawn.min().item(), drawn.max().item()]).toEqual([0, 255])
    const bits = randint(0, 2, [200], { dtype: 'bool' }).sum().item() as number
    expect(bits > 50 && bits < 150).toBe(true)
    for (const dtype of WHOLE)
      expect(ones([2], { dtype }).toArray()).toEqual(dtype === 'bool' ? [true, true] : [1, 1])
  })

  it('are exact in JavaScript', () => {
    const large = tensor([2n ** 53n + 1n, -5n])
    expect(() => large.toArray()).toThrow(
      /9007199254740993 has more digits than a number: read dataSync\(\)/,
    )
    expect(() => large.max().item()).toThrow(/9007199254740993/)
    expect(String(large.cpu())).toBe('Tensor([2], i64) [9007199254740993,-5]')
    expect(large.add(1).dataSync()).toEqual(BigInt64Array.of(2n ** 53n + 2n, -4n))
    expect(large.gt(2 ** 53).toArray()).toEqual([true, false])
    expect(large.eq(2 ** 53).toArray()).toEqual([false, false])
    expect(large.min().item()).toBe(-5)
  })

  it('are compared exactly with fractions and with out-of-range numbers', () => {
    const x = tensor([0, 1, 255], { dtype: 'u8' })
    expect(x.lt(0.5).toArray()).toEqual([true, false, false])
    expect(x.ge(0.5).toArray()).toEqual([false, true, true])
    expect(x.lt(300).toArray()).toEqual([true, true, true])
    expect(x.gt(-1).toArray()).toEqual([true, true, true])
    expect(x.eq(256).toArray()).toEqual([false, false, false])
    expect(x.ne(Number.NaN).toArray()).toEqual([true, true, true])
    expect(x.le(Number.NaN).toArray()).toEqual([false, false, false])
    expect(tensor([true, false]).gt(0.5).toArray()).toEqual([true, false])
  })

  it('use true division, and pass gradients on', async () => {
    const whole = tensor([1, 3], { dtype: 'i64' })
    expect([whole.div(2).dtype, whole.div(2).toArray()]).toEqual(['f32', [0.5, 1.5]])
    expect(whole.div(0).toArray()).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
    expect(whole.div(tensor([2, 2], { dtype: 'u8' })).toArray()).toEqual([0.5, 1.5])
    expect(
      tensor([true])
        .div(tensor([false]))
        .toArray(),
    ).toEqual([Number.POSITIVE_INFINITY])
    expect(whole.div(2).cast('i64').toArray()).toEqual([0, 1])
    const x = tensor([2, 4], { requires_grad: true })
    await whole.div(x).sum().backward()
    expect(x.grad?.toArray()).toEqual([-0.25, -0.1875])
  })
})

describe('NaN', () => {
  it.each(FLOATS)(
    'propagates through reductions and comparisons from every position, %s',
    (dtype) => {
      for (let length = 1; length <= 70; length++) {
        for (const at of new Set(
          [0, 1, length >> 1, length - 2, length - 1].filter((i) => i >= 0 && i < length),
        )) {
          const values = Array.from({ length }, (_, i) =>
            i === at ? Number.NaN : ((i * 7) % 11) - 4,
          )
          const x = tensor(values, { dtype })
          const other = full([length], 0.5, { dtype })
          for (const y of [
            x.max(),
            x.min(),
            x.reshape([length, 1]).max(0),
            x.reshape([1, length]).min(1),
          ]) {
            expect(numbers(y), `${length}, ${at}`).toEqual([Number.NaN])
          }
          expect(x.argmax().item()).toBe(at)
          for (const y of [
            x.maximum(other),
            other.maximum(x),
            x.minimum(0.5),
            other.minimum(x),
            x.relu(),
          ]) {
            expect(numbers(y).map(Number.isNaN)).toEqual(values.map((_, i) => i === at))
          }
          expect(numbers(x.softmax()).every(Number.isNaN)).toBe(true)
          expect(numbers(x.logSoftmax()).every(Number.isNaN)).toBe(true)
        }
      }
    },
  )

  it('has the gradient that PyTorch gives', async () => {
    const gradient = async (values: number[], f: (x: Tensor) => Tensor) => {
      const x = tensor(values, { requires_grad: true })
      await f(x).sum().backward()
      return numbers(x.grad as Tensor)
    }
    const nan = Number.NaN
    expect(await gradient([1, nan, 3], (x) => x.max())).toEqual([0, 1, 0])
    expect(await gradient([nan, 1, nan], (x) => x.min())).toEqual([0.5, 0, 0.5])
    expect(await gradient([1, nan, 3], (x) => x.maximum(2))).toEqual([0, 1, 1])
    expect(await gradient([1, 2, 3], (x) => x.minimum(tensor([nan, 2, 2])))).toEqual([1, 0.5, 0])
    expect(await gradient([-1, nan, 3], (x) => x.relu())).toEqual([0, 1, 1])
  })

  it('in gradients shows in the norm and in the scaled gradients', async () => {
    const clipped = async (gradients: number[][]) => {
      const all = gradients.map((values) => {
        const x = tensor(values, { requires_grad: true })
        x.grad = tensor(values)
        return x
      })
      const norm = await clipGradNorm(all, 1)
      return [norm, ...all.map((x) => numbers(x.grad as Tensor))]
    }
    const [nan, infinity] = [Number.NaN, Number.POSITIVE_INFINITY]
    expect(await clipped([[1, 2], [nan]])).toEqual([nan, [nan, nan], [nan]])
    expect(await clipped([[1, 2], [infinity]])).toEqual([infinity, [0, 0], [nan]])
    expect(await clipped([[0.5], [0.5]])).toEqual([Math.SQRT1_2, [0.5], [0.5]])
  })
})

describe('an undefined result', () => {
  it('is nan, empty, or an error that names the axis', () => {
    const empty = zeros([2, 0])
    expect(empty.sum(1).toArray()).toEqual([0, 0])
    expect(empty.mean(1).toArray()).toEqual([Number.NaN, Number.NaN])
    expect(empty.mean().item()).toBeNaN()
    for (const f of [
      (x: Tensor) => x.max(1),
      (x: Tensor) => x.min(-1),
      (x: Tensor) => x.argmax(1),
    ]) {
      expect(() => f(empty)).toThrow(/of nothing: axis 1 of shape \[2, 0\] is empty/)
    }
    expect(() => empty.max()).toThrow(/axis 1/)
    expect(empty.max(0).shape).toEqual([0])
    for (const dtype of FLOATS) {
      expect(zeros([2, 0], { dtype }).softmax(1).shape).toEqual([2, 0])
      expect(zeros([0, 3], { dtype }).logSoftmax(1).shape).toEqual([0, 3])
      expect(zeros([2, 0], { dtype }).logSoftmax(1).shape).toEqual([2, 0])
      const lowest = full([2, 33], Number.NEGATIVE_INFINITY, { dtype })
      expect(numbers(lowest.softmax()).every(Number.isNaN)).toBe(true)
      expect(numbers(lowest.logSoftmax()).every(Number.isNaN)).toBe(true)
    }
    const ignored = full([2], -100, { dtype: 'i64' })
    expect(crossEntropy(zeros([2, 3]), ignored).item()).toBeNaN()
    expect(crossEntropy(zeros([0, 3]), zeros([0], { dtype: 'i64' })).item()).toBeNaN()
    expect(mse(zeros([0]), zeros([0])).item()).toBeNaN()
  })

  it('is an error for random fractions of an integer type', () => {
    for (const dtype of ['i64', 'u8', 'bool'] as const) {
      expect(() => rand([2], { dtype })).toThrow(
        `rand gives fractions, which ${dtype} does not hold: take randint`,
      )
      expect(() => randn([2], { dtype })).toThrow(/randn gives fractions/)
    }
  })

  it('is an error for fill values out of range of the type', () => {
    expect(() => full([2], 1e300)).toThrow(
      /full: 1e\+?300 is beyond the numbers of f32|full: 10+ is beyond/,
    )
    expect(() => full([2], 1e5, { dtype: 'f16' })).toThrow(
      /beyond the numbers of f16, which end at 65504/,
    )
    expect(numbers(full([1], 65504, { dtype: 'f16' }))).toEqual([65504])
    expect(numbers(full([1], 3.3895e38, { dtype: 'bf16' })).every(Number.isFinite)).toBe(true)
    expect(numbers(full([1], -1e300, { dtype: 'f64' }))).toEqual([-1e300])
  })

  it('is an error for losses of integers', () => {
    for (const dtype of ['i64', 'u8', 'bool'] as const) {
      const logits = ones([2, 3], { dtype })
      for (const targets of [
        [0, 1],
        [-100, -100],
      ]) {
        expect(() => logits.crossEntropy(targets)).toThrow(
          expect.objectContaining({
            code: 'invalid_tensor',
            message: expect.stringContaining('cast the tensor to f32'),
          }),
        )
      }
    }
  })

  it('is an error for schedules at an invalid step', () => {
    const rates = [
      constant({ lr: 1 }),
      linearWarmup({ lr: 1, warmup_steps: 4 }),
      cosineWarmup({ lr: 1, warmup_steps: 4, total_steps: 8 }),
      linearDecay({ lr: 1, warmup_steps: 4, total_steps: 8 }),
      inverseSqrt({ lr: 1, warmup_steps: 4 }),
      warmupStableDecay({ lr: 1, warmup_steps: 4, decay_steps: 2, total_steps: 8 }),
    ]
    for (const rate of rates) {
      for (const step of [-1, Number.NaN, Number.POSITIVE_INFINITY, '3', undefined]) {
        expect(() => rate(step as number)).toThrow(
          expect.objectContaining({ code: 'invalid_argument' }),
        )
      }
      expect([rate(0), rate(3), rate(1000)].every(Number.isFinite)).toBe(true)
    }
  })

  it('does not occur: rand is below 1 in every type', () => {
    for (const dtype of FLOATS) expect(rand([20_000], { dtype }).max().item()).toBeLessThan(1)
  })
})

describe('half precision', () => {
  const HALF = ['f16', 'bf16'] as const

  it('accumulates in f32 in softmax and losses, and in their gradients', () => {
    for (const dtype of HALF) {
      for (const classes of [300, 3000]) {
        const weights = zeros([1, classes], { dtype }).softmax()
        expect(weights.to('f32').sum().item()).toBeCloseTo(1, 2)
        expect(zeros([1, classes], { dtype }).crossEntropy([0]).item()).toBeCloseTo(
          Math.log(classes),
          1,
        )
      }
      expect(
        zeros([3000, 2], { dtype })
          .crossEntropy(zeros([3000], { dtype: 'i64' }))
          .item(),
      ).toBeCloseTo(Math.LN2, 2)
      const logits = zeros([1, 1000], { dtype, requires_grad: true })
      logits.crossEntropy([0]).backwardSync()
      const gradient = numbers(logits.grad as Tensor)
      expect(gradient[0]).toBeCloseTo(-0.999, 2)
      expect(gradient[1]).toBeCloseTo(0.001, 5)
      const scores = zeros([1, 1000], { dtype, requires_grad: true })
      scores.softmax().slice(1, 0, 1).sum().backwardSync()
      expect((numbers(scores.grad as Tensor)[0] as number) * 1000).toBeCloseTo(0.999, 1)
    }
  })

  it('accumulates in f32 in the gradient of gather', () => {
    for (const dtype of HALF) {
      const x = ones([1], { dtype, requires_grad: true })
      x.gather(0, zeros([4096], { dtype: 'i64' }))
        .sum()
        .backwardSync()
      expect(numbers(x.grad as Tensor)).toEqual([4096])
    }
  })

  it('accepts scalars that the type cannot represent', () => {
    expect(tensor([6], { dtype: 'f16' }).div(65536).item()).toBeCloseTo(9.155e-5, 7)
    expect(tensor([0.001], { dtype: 'f16' }).mul(65536).item()).toBeCloseTo(65.5, 0)
    const x = tensor([2], { dtype: 'f16', requires_grad: true })
    const y = x.div(131072).mul(131072)
    expect([y.dtype, y.item()]).toEqual(['f16', 2])
    x.div(4096).backwardSync()
    expect(numbers(x.grad as Tensor)).toEqual([1 / 4096])
  })
})

describe('the sign of 0', () => {
  it('is preserved by operations on numbers', () => {
    expect(tensor([1]).div(-0).item()).toBe(Number.NEGATIVE_INFINITY)
    expect(Object.is(full([1], -0).item(), -0)).toBe(true)
    expect(Object.is(tensor([-0]).add(-0).item(), -0)).toBe(true)
    expect(full([1], -0, { dtype: 'i64' }).item()).toBe(0)
  })
})
