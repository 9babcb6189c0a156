// What datasets need of Node: files by their path, and images that sharp decodes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  collateImages,
  DataLoader,
  documents,
  images,
  jsonl,
  packed,
  TokenFile,
  textLines,
  windows,
  writeTokens,
} from 'x-transformers/data'
import { ByteTokenizer } from 'x-transformers/tokenizers'
import { expectError } from '../api/bytes.js'
import { numbers } from '../api/helpers.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const path = (name: string) => join(folder, name)
const range = (length: number) => Array.from({ length }, (_, i) => i)

describe('token files by their path', () => {
  it('are written and read', async () => {
    const ids = range(100_000).map((i) => (i * 31) % 50257)
    expect(await writeTokens(path('train.bin'), ids, { dtype: 'u16' })).toBe(100_000)
    expect(readFileSync(path('train.bin')).length).toBe(200_000)
    const file = await TokenFile.open(path('train.bin'), { dtype: 'u16' })
    expect(file.length).toBe(100_000)
    const loader = new DataLoader(windows(file, { length: 64 }), { batch_size: 7, prefetch: 3 })
    let at = 0
    for await (const [batch] of loader) {
      const [rows] = batch.shape as [number]
      const want = range(rows).flatMap((row) => ids.slice(at + row * 64, at + row * 64 + 65))
      expect(numbers(batch)).toEqual(want)
      batch.dispose()
      at += rows * 64
    }
    expect(at).toBe(Math.floor(99_999 / 64) * 64)
    await file.close()
    await expectError(file.read(0, 1), 'disposed', /closed/)
  })

  it('may be gone, empty, or of another type', async () => {
    const open = (name: string) => TokenFile.open(path(name), { dtype: 'u32' })
    await expectError(open('nothing'), 'file', /no such file/)
    writeFileSync(path('empty'), '')
    expect((await open('empty')).length).toBe(0)
    writeFileSync(path('odd'), 'abcde')
    await expectError(open('odd'), 'file', /odd has 5 bytes, which is no multiple of the 4/)
  })

  it('keep their old content where new ids do not fit', async () => {
    await writeTokens(path('kept'), [1, 2], { dtype: 'u16' })
    const broken = async function* rows() {
      yield [1]
      throw new Error('own')
    }
    await expect(writeTokens(path('kept'), broken, { dtype: 'u16' })).rejects.toThrow('own')
    await expectError(writeTokens(path('kept'), [70000], { dtype: 'u16' }), 'invalid_argument', /0/)
    expect([...readFileSync(path('kept'))]).toEqual([1, 0, 2, 0])
  })
})

describe('texts by their path', () => {
  it('become packed rows, again in each epoch', async () => {
    writeFileSync(path('a.jsonl'), '{"text": "call"}\n{"text": "me"}\n')
    writeFileSync(path('a.txt'), 'call\r\nme')
    const tokenizer = new ByteTokenizer()
    const texts = [() => jsonl(path('a.jsonl'), { field: 'text' }), () => textLines(path('a.txt'))]
    for (const text of texts) {
      const rows = packed(documents(text, tokenizer), { length: 7, eos: 0 })
      for (let epoch = 0; epoch < 2; epoch++) {
        const got = []
        for await (const row of await rows()) got.push(row)
        expect(got.map(({ ids }) => [...ids])).toEqual([[99, 97, 108, 108, 0, 109, 101, 0]])
        expect([...(got[0]?.segment_ids ?? [])]).toEqual([1, 1, 1, 1, 1, 2, 2, 2])
      }
    }
    const gone = new DataLoader(() => textLines(path('nothing')), { collate_fn: (x) => x })
    await expectError(gone[Symbol.asyncIterator]().next(), 'file', /no such file/)
  })
})

/** A PNG of one color. */
const png = (width: number, height: number, [r, g, b, alpha = 1]: number[]) =>
  sharp({
    create: { width, height, channels: 4, background: { r: r ?? 0, g: g ?? 0, b: b ?? 0, alpha } },
  })
    .png()
    .toBuffer()

describe('images', () => {
  it('are decoded, cut to a size and scaled', async () => {
    const red = await png(20, 10, [255, 0, 51])
    writeFileSync(path('red.png'), red)
    const clear = await png(5, 9, [0, 0, 0, 0])
    const sources = [path('red.png'), new Uint8Array(red), new Blob([new Uint8Array(clear)])]
    const dataset = await images(sources, [3, 1, 0], { size: [4, 6], mean: 0.5, std: 0.5 })
    expect(dataset.length).toBe(3)
    const options = { batch_size: 3, collate_fn: collateImages }
    for await (const { images, labels } of new DataLoader(dataset, options)) {
      expect(images.shape).toEqual([3, 3, 4, 6])
      expect(numbers(labels)).toEqual([3, 1, 0])
      const planes = range(9).map((i) => numbers(images)[i * 24 + 11]?.toFixed(4))
      const color = ['1.0000', '-1.0000', '-0.6000']
      // what is transparent is white
      expect(planes).toEqual([...color, ...color, '1.0000', '1.0000', '1.0000'])
    }
    const gray = await images([path('red.png')], [0], { size: 4, channels: 1 })
    const { shape, pixels } = await gray.get(0)
    expect([shape, pixels.length]).toEqual([[1, 4, 4], 16])
    expect(pixels[0]).toBeGreaterThan(0)
    expect(pixels[0]).toBeLessThan(1)
    // a gray image as RGB
    writeFileSync(path('gray.png'), await sharp(red).grayscale().png().toBuffer())
    const three = await (await images([path('gray.png')], [0], { size: 2 })).get(0)
    expect(three.shape).toEqual([3, 2, 2])
    expect(three.pixels[0]).toBe(three.pixels[8])
  })

  it('say which of them cannot be read', async () => {
    writeFileSync(path('text.png'), 'no image')
    const dataset = await images([path('text.png'), path('gone.png')], [0, 0], { size: 4 })
    await expectError(Promise.resolve(dataset.get(0)), 'file', /text.png is no image that can be/)
    await expectError(Promise.resolve(dataset.get(1)), 'file', /no such file/)
    await expectError(
      Promise.resolve().then(() => dataset.get(2)),
      'invalid_argument',
      /index/,
    )
  })

  it('refuse what does not fit', async () => {
    const refused = (sources: unknown, labels: unknown, options: object, message: RegExp) =>
      expectError(
        images(sources as string[], labels as number[], options as { size: number }),
        'invalid_argument',
        message,
      )
    await refused(['a'], [], { size: 4 }, /there are 1 images and 0 labels/)
    await refused('a', [0], { size: 4 }, /sources must be an array of paths/)
    await refused(['a'], [0.5], { size: 4 }, /labels\[0\] must be a whole number from 0/)
    await refused(['a'], [0], { size: 0 }, /size must be a whole number from 1/)
    await refused(['a'], [0], { size: [4] }, /size must be a number, or \[height, width\]/)
    await refused(['a'], [0], { size: 4, channels: 4 }, /channels must be 1 or 3/)
    await refused(['a'], [0], { size: 4, std: [1] }, /one for each of the 3 channels/)
    await expectError(
      images(['a'], [0], { size: 4, width: 1 } as never),
      'invalid_options',
      /width is not an option of images/,
    )
  })

  it('say how to install sharp where it is not', async () => {
    vi.doMock('sharp', () => {
      throw new Error('Cannot find package')
    })
    vi.resetModules()
    try {
      const { images } = await import('x-transformers/data')
      await expectError(
        images(['a'], [0], { size: 4 }),
        'not_available',
        /the package sharp, which cannot be loaded \(npm install sharp/,
      )
    } finally {
      vi.doUnmock('sharp')
    }
  })
})
