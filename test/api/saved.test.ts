// Saved tensors of every type and shape are loaded exactly, or saving is an error before anything
// is written.
import { describe, expect, it } from 'vitest'
import {
  type DType,
  loadTensors,
  loadTensorsSync,
  ones,
  saveTensors,
  saveTensorsSync,
  type Tensor,
  tensor,
} from 'x-transformers'
import { expectError, FakeFile, header } from './bytes.js'
import { numbers, smallModel } from './helpers.js'

type Tensors = Parameters<typeof saveTensors>[0]

describe('weights saved under a file name of PyTorch', () => {
  it('are rejected, as torch.load could not read them', async () => {
    const model = smallModel()
    for (const end of ['pt', 'pth', 'PT']) {
      const file = new FakeFile()
      Object.assign(file, { name: `model.v1.${end}` })
      const message = new RegExp(`write "model.v1.safetensors" in place of "model.v1.${end}"`)
      for (const target of [file, `no/such/model.v1.${end}`]) {
        await expectError(model.save(target), 'invalid_argument', message)
        await expectError(saveTensors(model.stateDict(), target), 'invalid_argument', message)
      }
      expect(() => model.saveSync(`no/such/model.v1.${end}`)).toThrow(message)
      expect(() => saveTensorsSync(model.stateDict(), `no/such/model.v1.${end}`)).toThrow(message)
      expect(file.opened).toBe(0)
    }
  })

  it('are saved if the extension is common to many formats', async () => {
    const file = Object.assign(new FakeFile(), { name: 'model.bin' })
    await smallModel().save(file)
    expect((await loadTensors(file.content)).tensors.size).toBeGreaterThan(0)
  })
})

async function saved(tensors: Tensors, metadata?: Record<string, string>): Promise<Uint8Array> {
  const file = new FakeFile()
  await saveTensors(tensors, file, metadata)
  return file.content
}

/** Name in safetensors, and bytes per value. */
const FORMATS: Record<DType, [name: string, size: number]> = {
  f32: ['F32', 4],
  f64: ['F64', 8],
  f16: ['F16', 2],
  bf16: ['BF16', 2],
  i64: ['I64', 8],
  u8: ['U8', 1],
  bool: ['BOOL', 1],
}

/** A file with one tensor, built by hand. */
function file(dtype: DType, shape: readonly number[], values: Uint8Array): Uint8Array {
  const description = { dtype: FORMATS[dtype][0], shape, data_offsets: [0, values.length] }
  const text = new TextEncoder().encode(JSON.stringify({ x: description }))
  const bytes = new Uint8Array(8 + text.length + values.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  bytes.set(values, 8 + text.length)
  return bytes
}

/** The header entry of tensor `x` in a file, and its bytes. */
function read(bytes: Uint8Array) {
  const { x } = header(bytes) as {
    x: { dtype: string; shape: number[]; data_offsets: [number, number] }
  }
  const start = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  const [from, to] = x.data_offsets
  return { dtype: x.dtype, shape: x.shape, values: [...bytes.subarray(start + from, start + to)] }
}

const hex = (...words: string[]) =>
  Uint8Array.from(
    words.flatMap((word) =>
      (word.match(/../g) as string[]).reverse().map((byte) => Number.parseInt(byte, 16)),
    ),
  )

/**
 * Zeros of both signs, infinities, the smallest and largest numbers, NaNs with a sign and a
 * payload; most significant byte first.
 */
const BITS: Record<DType, Uint8Array> = {
  f32: hex(
    '00000000',
    '80000000',
    '7f800000',
    'ff800000',
    '00000001',
    '807fffff',
    '7f7fffff',
    '7fc00001',
    'ffa5a5a5',
    '7f800001',
  ),
  f64: hex(
    '8000000000000000',
    'fff0000000000000',
    '0000000000000001',
    '7fefffffffffffff',
    '7ff8000000000abc',
    'fff0000000000001',
  ),
  f16: hex('0000', '8000', '7c00', 'fc00', '0001', '83ff', '7bff', '7e01', 'fe55', '7c01'),
  bf16: hex('0000', '8000', '7f80', 'ff80', '0001', '807f', '7f7f', '7fc1', 'ffd5', '7f81'),
  i64: hex('8000000000000000', '7fffffffffffffff', 'ffffffffffffffff', '0020000000000001'),
  u8: hex('00', '01', 'ff', '80'),
  bool: hex('00', '01', '01', '00'),
}
const DTYPES = Object.keys(FORMATS) as DType[]

describe.each(DTYPES)('a tensor of type %s', (dtype) => {
  it('is loaded exactly', async () => {
    const values = BITS[dtype]
    const shape = [values.length / FORMATS[dtype][1]]
    let bytes = file(dtype, shape, values)
    for (let i = 0; i < 2; i++) {
      const { tensors } = i ? loadTensorsSync(bytes) : await loadTensors(bytes)
      expect(tensors.get('x')?.dtype).toBe(dtype)
      bytes = await saved(tensors)
      expect(read(bytes)).toEqual({ dtype: FORMATS[dtype][0], shape, values: [...values] })
    }
  })

  it.each([[[]], [[1]], [[0]], [[3, 0, 2]], [[2, 1, 3]], [[1, 2, 1, 1, 2, 1, 1, 1, 1, 3]]])(
    'of shape %j keeps its shape',
    async (shape) => {
      const count = shape.reduce((a: number, b: number) => a * b, 1)
      const x = tensor(
        Array.from({ length: count }, (_, i) => i % 2),
        { shape, dtype },
      )
      for (const back of [
        await loadTensors(await saved({ x })),
        loadTensorsSync(await saved(new Map([['x', x]]))),
      ]) {
        const y = back.tensors.get('x') as Tensor
        expect([y.dtype, y.shape, numbers(y)]).toEqual([dtype, shape, numbers(x)])
        expect(y.toArray()).toEqual(x.toArray())
      }
    },
  )

  it('that is a view is saved as its own values', async () => {
    const whole = tensor(
      Array.from({ length: 24 }, (_, i) => (i * 7) % 2),
      { shape: [2, 3, 4], dtype },
    )
    const views = [
      whole.permute([2, 0, 1]),
      whole.slice(1, 1, 3),
      whole.slice(0, 1, 2),
      whole.permute([1, 2, 0]).slice(2, 1, 2),
    ]
    for (const x of views) {
      const y = loadTensorsSync(await saved({ x })).tensors.get('x') as Tensor
      expect([y.dtype, y.shape, numbers(y)]).toEqual([dtype, x.shape, numbers(x)])
    }
  })
})

describe('the names of tensors', () => {
  const x = ones([1])

  it('may be any text', async () => {
    const names = [
      '',
      ' ',
      'a\0b',
      '"\\\n\u2028',
      'é',
      'e\u0301',
      '\u{1f916}',
      '__proto__',
      'constructor',
      '10',
      '2',
      '__metadata__ ',
      'x'.repeat(5000),
    ]
    const named = new Map(names.map((name, i) => [name, tensor(i)]))
    const objects = Object.fromEntries(named)
    for (const tensors of [
      named,
      objects,
      Object.assign(Object.create(null), objects),
    ] as Tensors[]) {
      for (const back of [
        await loadTensors(await saved(tensors)),
        loadTensorsSync(await saved(tensors)),
      ]) {
        expect(back.tensors.size).toBe(names.length)
        for (const [i, name] of names.entries())
          expect(back.tensors.get(name)?.item(), JSON.stringify(name)).toBe(i)
      }
    }
    expect((await loadTensors(await saved({}))).tensors.size).toBe(0)
  })

  it('that are invalid are rejected before the file is opened', async () => {
    const refused: [tensors: unknown, words: RegExp][] = [
      [{ __metadata__: x }, /the name __metadata__/],
      [
        new Map([
          ['a', x],
          ['__metadata__', x],
        ]),
        /the name __metadata__/,
      ],
      [{ 'a\ud800': x }, /the name "a\\ud800" has half of a surrogate pair/],
      [{ '\udc00\ud800': x }, /half of a surrogate pair/],
      [
        new Map([
          [1 as never, x],
          ['1', x],
        ]),
        /must be strings, got 1/,
      ],
      [{ x: [1] }, /tensor "x" must be a Tensor, got an array/],
      [{ x: null }, /tensor "x" must be a Tensor, got null/],
      [{ metadata: {}, tensors: new Map() }, /tensor "metadata" must be a Tensor/],
      [
        [x],
        /must be a Map or an object of tensors by name, such as model.stateDict\(\), got an array/,
      ],
      [x, /got a Tensor/],
      [smallModel(), /got an AutoregressiveWrapper/],
      [new Set([x]), /got a Set/],
      [null, /got null/],
      [undefined, /got undefined/],
      ['x', /got "x"/],
    ]
    for (const [tensors, words] of refused) {
      const file = new FakeFile(Uint8Array.of(1))
      await expectError(saveTensors(tensors as Tensors, file), 'invalid_argument', words)
      expect([file.opened, file.content.length]).toEqual([0, 1])
    }
  })
})

describe('metadata', () => {
  const tensors = { x: ones([1]) }

  it('may be any strings', async () => {
    const metadata: Record<string, string> = {
      '': '',
      'a\0': '\u{1f916}\n"',
      step: '5',
      json: '{"a":[1]}',
      __metadata__: 'x',
      ['__proto__']: 'y',
    }
    for (const back of [
      await loadTensors(await saved(tensors, metadata)),
      loadTensorsSync(await saved(tensors, metadata)),
    ]) {
      expect(Object.entries(back.metadata).sort()).toEqual(
        Object.entries({ format: 'pt', ...metadata }).sort(),
      )
    }
    expect(loadTensorsSync(await saved(tensors, { format: 'np' })).metadata).toEqual({
      format: 'np',
    })
    expect(loadTensorsSync(await saved(tensors)).metadata).toEqual({ format: 'pt' })
  })

  it('give the same bytes each time', async () => {
    const metadata = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`key ${(i * 7) % 20}`, String(i)]),
    )
    const bytes = await saved(tensors, metadata)
    for (let i = 0; i < 3; i++) expect(await saved(tensors, metadata)).toEqual(bytes)
  })

  it('of another kind are rejected before the file is opened', async () => {
    const refused: [metadata: unknown, words: RegExp][] = [
      [{ step: 5 }, /metadata holds strings only, and "step" is 5/],
      [{ a: 'b', step: null }, /"step" is null/],
      [{ step: undefined }, /"step" is undefined/],
      [{ config: { a: 1 } }, /"config" is an object/],
      [{ on: true }, /"on" is true/],
      [{ big: 1n }, /"big" is 1/],
      [{ fn: () => 1 }, /"fn" is a function/],
      [{ text: '\ud83e' }, /"text" has half of a surrogate pair/],
      [{ '\ud83e': '' }, /half of a surrogate pair/],
      [null, /must be an object of strings, got null/],
      [['a'], /got an array/],
      [new Map([['a', 'b']]), /got a Map/],
      ['pt', /got "pt"/],
    ]
    for (const [metadata, words] of refused) {
      const file = new FakeFile(Uint8Array.of(1))
      await expectError(saveTensors(tensors, file, metadata as never), 'invalid_argument', words)
      expect([file.opened, file.content.length]).toEqual([0, 1])
    }
  })
})
