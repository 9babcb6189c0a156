import { describe, expect, it } from 'vitest'
import { AutoregressiveWrapper, XTransformersError } from 'x-transformers'
import {
  collatePacked,
  DataLoader,
  type Dataset,
  documents,
  jsonl,
  type PackedRow,
  packed,
  padded,
  type Stream,
  textLines,
} from 'x-transformers/data'
import { ByteTokenizer } from 'x-transformers/tokenizers'
import { endless, expectError, inPieces } from './bytes.js'
import { numbers, smallNet } from './helpers.js'

const range = (length: number) => Array.from({ length }, (_, i) => i)
const bytesOf = (text: string) => new TextEncoder().encode(text)

async function listed<T>(of: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of of) all.push(one)
  return all
}

function refused(run: () => unknown, message: RegExp): void {
  expect(run).toThrow(XTransformersError)
  expect(run).toThrow(message)
}

describe('textLines', () => {
  it('finds any ends of lines, however the bytes are cut', async () => {
    const text = 'Call me\nIshmael ü 漢 🐳\r\n\r\rsome\ryears\n\nago'
    const want = ['Call me', 'Ishmael ü 漢 🐳', '', '', 'some', 'years', '', 'ago']
    for (const size of [1, 2, 3, 5, 100]) {
      expect(await listed(textLines(inPieces(bytesOf(text), size)))).toEqual(want)
      expect(await listed(textLines(inPieces(bytesOf(`${text}\r\n`), size)))).toEqual(want)
    }
    expect(await listed(textLines(new Blob([text])))).toEqual(want)
    expect(await listed(textLines(bytesOf('')))).toEqual([])
    expect(await listed(textLines(bytesOf('\n')))).toEqual([''])
  })

  it('reads lines over the pieces in which a source is read', async () => {
    const lines = range(40).map((i) => String.fromCharCode(0x6f20 + i).repeat(i * 997))
    for (const end of ['\n', '\r\n', '\r'])
      expect(await listed(textLines(bytesOf(lines.join(end))))).toEqual(lines)
    // the two halves of an end in two pieces
    const at = 'a'.repeat(256 * 1024 - 1)
    expect(await listed(textLines(bytesOf(`${at}\r\nb`)))).toEqual([at, 'b'])
    expect(await listed(textLines(bytesOf(`${at}\r\rb`)))).toEqual([at, '', 'b'])
  })

  it('leaves out a mark of the byte order at the beginning alone', async () => {
    expect(await listed(textLines(bytesOf('\ufeffa\n\ufeffb')))).toEqual(['a', '\ufeffb'])
  })

  it('names the line that is no UTF-8', async () => {
    const bytes = Uint8Array.of(97, 10, 98, 10, 0xc3, 10, 99)
    await expectError(listed(textLines(bytes)), 'file', /^line 3 of the source is no UTF-8/)
    const cut = Uint8Array.of(97, 10, 0xe6, 0xbc)
    await expectError(listed(textLines(new File([cut], 'a.txt'))), 'file', /^line 2 of a.txt is no/)
  })

  it('cancels a stream that is left early, and can be aborted', async () => {
    const { stream, cancelled } = endless(bytesOf(`${'a\n'.repeat(200_000)}`))
    for await (const line of textLines(stream)) {
      expect(line).toBe('a')
      break
    }
    expect(cancelled.length).toBe(1)
    const controller = new AbortController()
    const waiting = endless(bytesOf('a\nb'))
    const pending = listed(textLines(waiting.stream, { signal: controller.signal }))
    setTimeout(() => controller.abort(new Error('enough')), 5)
    await expect(pending).rejects.toThrow('enough')
    expect(waiting.cancelled.length).toBe(1)
    await expectError(
      listed(textLines(bytesOf('a'), { encoding: 'latin1' } as never)),
      'invalid_options',
      /encoding is not an option of textLines/,
    )
  })
})

describe('jsonl', () => {
  it('gives values, or the texts of a field', async () => {
    const file = '{"text": "a\\nb", "n": 1}\n\n  \r\n{"text": "ü"}\n'
    expect(await listed(jsonl(bytesOf(file)))).toEqual([{ text: 'a\nb', n: 1 }, { text: 'ü' }])
    expect(await listed(jsonl(bytesOf(file), { field: 'text' }))).toEqual(['a\nb', 'ü'])
    expect(await listed(jsonl(bytesOf('1\n[2]\nnull')))).toEqual([1, [2], null])
  })

  it('names the line that is wrong', async () => {
    const wrong = async (text: string, message: RegExp, field = 'text') =>
      await expectError(listed(jsonl(new File([text], 'a.jsonl'), { field })), 'file', message)
    await wrong('{"text": "a"}\n\n{"text": ', /^line 3 of a.jsonl is no JSON: /)
    await wrong('{"text": "a"}\n{"txt": "a"}', /^line 2 of a.jsonl has no text under "text"$/)
    await wrong('{"text": 5}', /^line 1 of a.jsonl has no text under "text"/)
    await wrong('null', /^line 1 .* has no text/)
    await wrong('{}', /^line 1 .* has no text under "toString"/, 'toString')
    await expectError(
      listed(jsonl(bytesOf('1'), { field: 5 } as never)),
      'invalid_argument',
      /field must be a string/,
    )
  })
})

describe('documents', () => {
  it('are the ids of texts, again in each epoch', async () => {
    const tokenizer = new ByteTokenizer()
    const from = documents(() => textLines(bytesOf('ab\nc')), tokenizer)
    for (let i = 0; i < 2; i++) expect(await listed(await from())).toEqual([[97, 98], [99]])
    expect(await listed(await documents(['a'], tokenizer)())).toEqual([[97]])
    const wrong = documents([1] as never, tokenizer)
    await expectError(listed(await wrong()), 'invalid_argument', /texts\[0\] must be a string/)
    refused(() => documents('text' as never, tokenizer), /texts must be an array, an iterable/)
    refused(() => documents([], {} as never), /tokenizer must be an object with encode/)
  })
})

describe('packed', () => {
  const plain = ({ ids, segment_ids }: PackedRow) => [Array.from(ids), Array.from(segment_ids)]
  const rowsOf = (dataset: Dataset<PackedRow>) =>
    range(dataset.length).map((i) => plain(dataset.get(i) as PackedRow))
  const streamed = async (stream: Stream<PackedRow>) => (await listed(await stream())).map(plain)

  it('puts documents one after the other, and tells which each id is of', async () => {
    const rows = packed([[5, 6, 7], [], [8, 9], [1, 2]], { length: 4, eos: 0 })
    expect(rowsOf(rows)).toEqual([
      [
        [5, 6, 7, 0, 8],
        [1, 1, 1, 1, 2],
      ],
      [
        [8, 9, 0, 1, 2],
        [1, 1, 1, 2, 2],
      ],
    ])
    const filled = packed(
      [
        [5, 6, 7],
        [8, 9],
        [1, 2],
      ],
      { length: 4, eos: 0, pad_id: 300 },
    )
    expect(rowsOf(filled).slice(2)).toEqual([
      [
        [2, 0, 300, 300, 300],
        [1, 1, 0, 0, 0],
      ],
    ])
  })

  it('gives the same rows of an array and of a stream', async () => {
    for (let seed = 1; seed < 60; seed++) {
      const texts = range(1 + (seed % 9)).map((i) =>
        range((seed * 31 + i * 17) % 13).map((j) => (seed + i * j) % 400),
      )
      const length = 1 + (seed % 6)
      for (const options of [{ length }, { length, eos: 500 }, { length, eos: 7, pad_id: 9 }]) {
        const stream = packed(() => texts, options)
        const want = await streamed(stream)
        if (want.length === 0) refused(() => packed(texts, options), /a row of length/)
        else expect(rowsOf(packed(texts, options))).toEqual(want)
        expect(await streamed(packed(new Set(texts), options))).toEqual(want)
        // each id is a target once
        const eos = options.eos === undefined ? [] : [options.eos]
        const all = texts.flatMap((text) => (text.length > 0 ? [...text, ...eos] : []))
        const targets = want.flatMap(([ids, segments]) =>
          (ids as number[]).slice(1).filter((_, i) => (segments as number[])[i + 1] !== 0),
        )
        expect(targets).toEqual(all.slice(1, 1 + targets.length))
        expect(all.length - 1 - targets.length).toBeLessThan(options.pad_id ? 1 : length)
      }
    }
  })

  it('refuses what does not fit', async () => {
    refused(() => packed([[1]], { length: 4 }), /of length 4 has 5 ids, and the 1 documents have/)
    refused(() => packed([[1, 2.5]], { length: 1 }), /documents\[0\]\[1\] must be a whole number/)
    refused(() => packed([5] as never, { length: 1 }), /documents\[0\] must be token ids/)
    refused(() => packed([[1, 2]], { length: 0 }), /length must be a whole number from 1/)
    refused(() => packed([[1, 2]], { length: 1, eos: -1 }), /eos must be/)
    refused(() => packed([[1, 2]], { length: 1, pad_id: 2 ** 32 }), /pad_id must be .* 4294967295/)
    refused(() => packed(5 as never, { length: 1 }), /documents must be an array, an iterable/)
    const wrong = packed(() => [[1], ['a']] as never, { length: 1 })
    await expectError(listed(await wrong()), 'invalid_argument', /documents\[1\]\[0\] must be/)
  })

  it('becomes ids and segment_ids of a batch', async () => {
    const rows = packed(
      [
        [5, 6, 7],
        [8, 9],
      ],
      { length: 2, pad_id: 0 },
    )
    const loader = new DataLoader(rows, { batch_size: 2, collate_fn: collatePacked })
    for await (const [ids, { segment_ids }] of loader) {
      expect([ids.shape, ids.dtype, segment_ids.dtype]).toEqual([[2, 3], 'i64', 'i64'])
      expect(numbers(ids)).toEqual([5, 6, 7, 7, 8, 9])
      expect(numbers(segment_ids)).toEqual([1, 1, 1, 1, 2, 2])
    }
    refused(() => collatePacked([[1]] as never), /collatePacked is for rows of packed\(\)/)
  })
})

describe('padded', () => {
  it('fills rows up to the longest, with a mask', async () => {
    const rows = [[1, 2, 3], Uint8Array.of(4), []]
    const of = async (options: Parameters<typeof padded>[0]) => {
      const loader = new DataLoader(rows, { batch_size: 3, collate_fn: padded(options) })
      const [[ids, { mask }]] = (await listed(loader)) as [Awaited<ReturnType<typeof one>>]
      expect([ids.dtype, mask.dtype, mask.shape]).toEqual(['i64', 'bool', [3, 3]])
      return [numbers(ids), numbers(mask)]
    }
    const one = async () => padded({ pad_id: 0 })([])
    expect(await of({ pad_id: 0 })).toEqual([
      [1, 2, 3, 4, 0, 0, 0, 0, 0],
      [1, 1, 1, 1, 0, 0, 0, 0, 0],
    ])
    expect(await of({ pad_id: -100, side: 'left' })).toEqual([
      [1, 2, 3, -100, -100, 4, -100, -100, -100],
      [1, 1, 1, 0, 0, 1, 0, 0, 0],
    ])
  })

  it('leaves what is filled up out of the loss, with the id that the model ignores', async () => {
    const model = new AutoregressiveWrapper(smallNet(), { ignore_index: 0 })
    const [long, short] = [
      [1, 2, 3, 4, 5, 6, 7],
      [8, 9, 10],
    ] as const
    const collate = padded({ pad_id: 0, autoregressive: true })
    expect(collate([long, short])[1].mask.shape).toEqual([2, 6])
    expect(numbers(collate([[1, 2], [3]])[1].mask)).toEqual([1, 1])
    expect(numbers(collate([[1, 2, 3], [3]])[1].mask)).toEqual([1, 1, 1, 0])
    const lossOf = async (...rows: (readonly number[])[]) =>
      Number((await model.forward(...collate(rows))).item())
    // the mean over 6 and 2 targets
    const want = ((await lossOf(long)) * 6 + (await lossOf(short)) * 2) / 8
    expect(await lossOf(long, short)).toBeCloseTo(want, 5)
  })

  it('refuses what does not fit', () => {
    refused(() => padded({} as never), /pad_id must be a whole number, got undefined/)
    refused(() => padded({ pad_id: 0, side: 'top' } as never), /side must be 'left' or 'right'/)
    refused(() => padded({ pad_id: 0, autoregressive: 1 } as never), /must be true or false/)
    refused(() => padded({ pad: 0 } as never), /pad is not an option of padded/)
    refused(() => padded({ pad_id: 0 })(['a'] as never), /example 0 of the batch must be token ids/)
    refused(() => padded({ pad_id: 0 })([[1.5]]), /row 0 of the batch has 1.5/)
  })
})
