import { describe, expect, it } from 'vitest'
import { XTransformersError } from 'x-transformers'
import {
  DataLoader,
  randomWindows,
  TokenArray,
  TokenFile,
  type Tokens,
  windows,
  writeTokens,
} from 'x-transformers/data'
import { expectError, inPieces, joined } from './bytes.js'
import { numbers } from './helpers.js'

const range = (length: number) => Array.from({ length }, (_, i) => i)
const list = (ids: ArrayLike<number>) => Array.from(ids)

function refused(run: () => unknown, message: RegExp): void {
  expect(run).toThrow(XTransformersError)
  expect(run).toThrow(message)
}

/** A target that keeps what is written. */
function kept(): { stream: WritableStream<Uint8Array>; bytes: () => Uint8Array } {
  const chunks: Uint8Array[] = []
  const stream = new WritableStream<Uint8Array>({ write: (chunk) => void chunks.push(chunk) })
  return { stream, bytes: () => joined(chunks) }
}

/** The bytes of ids as little-endian numbers of 16 bits. */
const u16 = (ids: number[]) => Uint8Array.from(ids.flatMap((id) => [id & 255, id >> 8]))

describe('a TokenArray', () => {
  it('keeps ids in the fewest bytes that hold them', () => {
    const types = [[0, 255], [0, 256], [65535], [65536], [2 ** 32 - 1], []].map(
      (ids) => new TokenArray(ids).ids.constructor.name,
    )
    expect(types).toEqual([
      ...['Uint8Array', 'Uint16Array', 'Uint16Array', 'Uint32Array', 'Uint32Array', 'Uint8Array'],
    ])
    const typed = Uint16Array.of(1, 300)
    expect(new TokenArray(typed).ids).toBe(typed)
    for (const ids of [Int32Array.of(1, 2), BigInt64Array.of(1n, 2n), Uint32Array.of(1, 2)]) {
      const tokens = new TokenArray(ids)
      expect(tokens.ids).toBeInstanceOf(Uint8Array)
      expect(list(tokens.read(0, 2))).toEqual([1, 2])
    }
  })

  it('reads pieces', () => {
    const tokens = new TokenArray(range(10))
    expect(tokens.length).toBe(10)
    expect(list(tokens.read(3, 4))).toEqual([3, 4, 5, 6])
    expect(list(tokens.read(10, 0))).toEqual([])
    refused(() => tokens.read(8, 3), /there are 10 ids, and none from 10 on: 3 from 8 on/)
    refused(() => tokens.read(-1, 3), /offset must be a whole number from 0/)
    refused(() => tokens.read(0, 0.5), /length must be/)
  })

  it('refuses what is no id, by its place', () => {
    refused(() => new TokenArray([1, -1]), /ids\[1\] must be a whole number from 0 to 4294967295/)
    refused(() => new TokenArray([1, 2.5]), /ids\[1\] must be .* got 2.5/)
    refused(() => new TokenArray(['1'] as never), /ids\[0\] must be .* got "1"/)
    refused(() => new TokenArray(new Array(2)), /ids\[0\] must be .* got undefined/)
    refused(() => new TokenArray(BigInt64Array.of(2n ** 40n)), /ids\[0\] must be .* 1099511627776n/)
    refused(() => new TokenArray('abc' as never), /ids must be token ids/)
    refused(() => new TokenArray(Float32Array.of(1) as never), /got a Float32Array/)
    const buffer = new ArrayBuffer(4)
    const gone = new Uint8Array(buffer)
    structuredClone(buffer, { transfer: [buffer] })
    refused(() => new TokenArray(gone), /the memory of the data is gone/)
  })
})

describe('a TokenFile', () => {
  const ids = range(1000).map((i) => (i * 77) % 65536)

  it('reads ids of each kind of source by their place', async () => {
    const bytes = u16(ids)
    const sources = [
      bytes,
      bytes.slice().buffer,
      new Blob([bytes]),
      new File([bytes], 'train.bin'),
      inPieces(bytes, 333),
      new Response(bytes),
    ]
    for (const source of sources) {
      const file = await TokenFile.open(source, { dtype: 'u16' })
      expect([file.length, file.dtype]).toEqual([1000, 'u16'])
      // all at once, from the end to the beginning
      const places = range(20).map((i) => 950 - 50 * i)
      const read = await Promise.all(places.map((at) => file.read(at, 50)))
      expect(read.map(list)).toEqual(places.map((at) => ids.slice(at, at + 50)))
      expect(read[0]).toBeInstanceOf(Uint16Array)
      await file.close()
    }
  })

  it('reads only what is asked for', async () => {
    let read = 0
    const blob = new Blob([u16(ids)])
    const counted = {
      size: 2 ** 40,
      slice(start: number, end: number) {
        read += end - start
        return blob.slice(start % 2000, (start % 2000) + end - start)
      },
    }
    const file = await TokenFile.open(counted as never, { dtype: 'u16' })
    expect(file.length).toBe(2 ** 39)
    const far = 1000 * 2 ** 29
    expect(list(await file.read(far, 3))).toEqual(ids.slice(0, 3))
    expect(read).toBe(6)
  })

  it('reads what writeTokens has written', async () => {
    const write = async (ids: Parameters<typeof writeTokens>[1], options = {}) => {
      const { stream, bytes } = kept()
      const count = await writeTokens(stream, ids, { dtype: 'u32', ...options })
      const file = await TokenFile.open(bytes(), { dtype: 'u32', ...options })
      expect(file.length).toBe(count)
      return list(await file.read(0, count))
    }
    expect(await write([1, 2 ** 32 - 1])).toEqual([1, 2 ** 32 - 1])
    expect(await write(Uint8Array.of(1, 2))).toEqual([1, 2])
    expect(await write([[1, 2], Uint16Array.of(3), []])).toEqual([1, 2, 3])
    expect(await write(BigInt64Array.of(5n))).toEqual([5])
    expect(await write([])).toEqual([])
    const long = range(5000)
    const rows = async function* rows() {
      for (let i = 0; i < 5000; i += 7) yield long.slice(i, i + 7)
    }
    expect(await write(rows())).toEqual(long)
    expect(await write(rows, { dtype: 'u16' })).toEqual(long)
    const { stream, bytes } = kept()
    await writeTokens(stream, [[1, 258], [3]], { dtype: 'u16', eos: 9 })
    expect(list(bytes())).toEqual([1, 0, 2, 1, 9, 0, 3, 0, 9, 0])
  })

  it('refuses ids that do not fit, and other rows', async () => {
    const refused = async (ids: unknown, message: RegExp, options: object = { dtype: 'u16' }) =>
      await expectError(
        writeTokens(kept().stream, ids as number[], options as never),
        'invalid_argument',
        message,
      )
    await refused([1, 65536], /ids\[1\] must be a whole number from 0 to 65535, got 65536/)
    await refused([[1], [2, 65536]], /ids\[1\]\[1\] must be/)
    await refused(['a'], /ids\[0\] must be token ids.*got "a"/)
    await refused('abc', /ids must be an array, an iterable/)
    await refused(() => 5, /what ids gives must be an iterable/)
    await refused([1], /dtype must be 'u16' or 'u32'/, { dtype: 'i64' })
    await refused([1], /dtype must be/, {})
    await refused([[1]], /eos must be a whole number from 0/, { dtype: 'u16', eos: -1 })
    await refused([[1]], /eos\[0\] must be .* to 65535/, { dtype: 'u16', eos: 65536 })
  })

  it('refuses what is no file of ids, and reads after the end', async () => {
    const odd = new Uint8Array(7)
    await expectError(
      TokenFile.open(odd, { dtype: 'u16' }),
      'file',
      /the source has 7 bytes, which is no multiple of the 2 of an id of type u16/,
    )
    await expectError(TokenFile.open(odd, {} as never), 'invalid_argument', /dtype must be/)
    await expectError(
      TokenFile.open(odd, { dtype: 'u16', type: 1 } as never),
      'invalid_options',
      /type is not an option of TokenFile.open/,
    )
    await expectError(TokenFile.open(5 as never, { dtype: 'u16' }), 'invalid_argument', /a source/)
    const aborted = AbortSignal.abort(new Error('enough'))
    const opening = TokenFile.open(odd, { dtype: 'u16', signal: aborted })
    await expect(opening).rejects.toThrow('enough')
    const controller = new AbortController()
    const { signal } = controller
    const stays = await TokenFile.open(new Blob([u16([1, 2])]), { dtype: 'u16', signal })
    controller.abort()
    expect(list(await stays.read(0, 2))).toEqual([1, 2])
    const file = await TokenFile.open(new Uint8Array(8), { dtype: 'u16' })
    await expectError(file.read(3, 2), 'invalid_argument', /there are 4 ids/)
  })

  it('is closed, by await using too', async () => {
    const file = await TokenFile.open(u16([1, 2]), { dtype: 'u16' })
    const reading = file.read(0, 2)
    await file.close()
    await file.close()
    expect(list(await reading)).toEqual([1, 2])
    await expectError(file.read(0, 1), 'disposed', /the TokenFile is closed/)
    const other = await TokenFile.open(u16([1, 2]), { dtype: 'u16' })
    await other[Symbol.asyncDispose]()
    await expectError(other.read(0, 1), 'disposed', /closed/)
  })
})

describe('windows', () => {
  it('are consecutive, with one id more than the model reads', async () => {
    const tokens = new TokenArray(range(11))
    const rows = (options: { length: number; stride?: number }) => {
      const dataset = windows(tokens, options)
      return range(dataset.length).map((i) => list(dataset.get(i) as Uint8Array))
    }
    expect(rows({ length: 4 })).toEqual([
      [0, 1, 2, 3, 4],
      [4, 5, 6, 7, 8],
    ])
    expect(rows({ length: 5 })).toEqual([range(6), range(11).slice(5)])
    expect(rows({ length: 4, stride: 3 }).map(([first]) => first)).toEqual([0, 3, 6])
    expect(rows({ length: 10 })).toEqual([range(11)])
    const all = randomWindows(tokens, { length: 4 })
    expect(all.length).toBe(7)
    expect(list((await all.get(6)) as Uint8Array)).toEqual([6, 7, 8, 9, 10])
  })

  it('refuse what does not fit', () => {
    const tokens = new TokenArray(range(4))
    refused(() => windows(tokens, { length: 4 }), /of length 4 has 5 ids, and there are only 4/)
    refused(() => randomWindows(tokens, { length: 4 }), /of length 4 has 5 ids/)
    refused(() => windows(tokens, { length: 0 }), /length must be a whole number from 1/)
    refused(() => windows(tokens, { length: 2, stride: 0 }), /stride must be/)
    refused(() => windows([1, 2] as never, { length: 1 }), /tokens must be a TokenArray or a Tok/)
    refused(() => windows(tokens, { len: 1 } as never), /len is not an option of windows/)
    refused(() => windows(tokens, { length: 2 }).get(1), /index must be a whole number from 0 to 0/)
  })

  it('of a file and of an array make the same batches', async () => {
    const ids = range(500).map((i) => (i * i) % 300)
    const batches = async (tokens: Tokens) => {
      const dataset = windows(tokens, { length: 16 })
      const loader = new DataLoader(dataset, { batch_size: 4, shuffle: true, seed: 1, prefetch: 3 })
      const got: number[][] = []
      for await (const [batch] of loader) got.push(numbers(batch))
      return got
    }
    const file = await TokenFile.open(new Blob([u16(ids)]), { dtype: 'u16' })
    expect(await batches(file)).toEqual(await batches(new TokenArray(ids)))
  })
})
