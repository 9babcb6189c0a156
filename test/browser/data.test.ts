// What datasets have of a browser: the origin private file system.
import { afterEach, expect, it } from 'vitest'
import { images, TokenFile, textLines, writeTokens } from 'x-transformers/data'
import { expectError } from '../api/bytes.js'

const FOLDER = 'x-transformers-data'

afterEach(async () => {
  const root = await navigator.storage.getDirectory()
  await root.removeEntry(FOLDER, { recursive: true }).catch(() => {})
})

it('keeps token files in the origin private file system', async () => {
  const name = `opfs:${FOLDER}/deep/train.bin`
  const ids = Array.from({ length: 5000 }, (_, i) => (i * 77) % 65536)
  await writeTokens(name, ids, { dtype: 'u16' })
  const file = await TokenFile.open(name, { dtype: 'u16' })
  const read = await Promise.all([4990, 0, 123].map((at) => file.read(at, 10)))
  expect(read.map((ids) => [...ids])).toEqual([4990, 0, 123].map((at) => ids.slice(at, at + 10)))
  await file.close()
  await expectError(
    TokenFile.open(`opfs:${FOLDER}/nothing`, { dtype: 'u16' }),
    'file',
    /there is no file opfs:/,
  )
})

it('reads addresses as a whole', async () => {
  const url = URL.createObjectURL(new Blob([Uint8Array.of(1, 0, 2, 1)]))
  const file = await TokenFile.open(url, { dtype: 'u16' })
  expect([...(await file.read(1, 1))]).toEqual([258])
  const lines = URL.createObjectURL(new Blob(['a\nb']))
  const got: string[] = []
  for await (const line of textLines(new URL(lines))) got.push(line)
  expect(got).toEqual(['a', 'b'])
})

it('says what to do where images cannot be decoded', async () => {
  await expectError(
    images(['a.png'], [0], { size: 4 }),
    'not_available',
    /on a page, give the pixels of a canvas to fromPixels\(\)/,
  )
})
