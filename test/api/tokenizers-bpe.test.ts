/// <reference types="vite/client" />
import { beforeAll, describe, expect, it } from 'vitest'
import { BPETokenizer, loadTokenizer, trainBPE } from 'x-transformers/tokenizers'
import { expectError } from './bytes.js'
import { gpt2, gpt2Files, numbersFrom, randomText, STRANGE } from './gpt2.js'
import { chapter } from './text.js'

const END = '<|endoftext|>'

interface Case {
  name: string
  texts?: string[]
  chapters?: number[]
  vocab_size: number
  min_frequency?: number
  special_tokens?: string[]
  size: number
  last_merges: string[]
  merges: string
  tokens: string
  ids: string
}

/** What Python's `tokenizers` has made: see test/python/tokenizers.py. */
interface Recorded {
  gpt2: {
    texts: { text: string; ids: number[] }[]
    bytes: { ids: number[]; text: string }[]
    chapters: { first: number; last: number; digest: string }
  }
  trained: Case[]
}

const recordings = import.meta.glob<Recorded>('../python/tokenizers.json', { import: 'default' })
let recorded: Recorded
let tokenizer: BPETokenizer
beforeAll(async () => {
  recorded = (await Object.values(recordings)[0]?.()) as Recorded
  tokenizer = await gpt2()
})

async function digest(values: readonly (number | string)[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(values))
  const hash = await crypto.subtle.digest('SHA-256', bytes)
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

const chapters = async (numbers: readonly number[]) => Promise.all(numbers.map(chapter))
const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

const tokensOf = (bpe: BPETokenizer) =>
  Array.from({ length: bpe.vocabSize }, (_, id) => bpe.tokenOf(id) as string)

describe("GPT-2's vocabulary", () => {
  it("gives the ids of Python's tokenizers", async () => {
    expect(tokenizer.vocabSize).toBe(50257)
    expect(tokenizer.idOf(END)).toBe(50256)
    for (const { text, ids } of recorded.gpt2.texts) expect(tokenizer.encode(text)).toEqual(ids)
    const { first, last, digest: want } = recorded.gpt2.chapters
    const whole = (await chapters(range(first, last))).join('')
    expect(await digest(tokenizer.encode(whole))).toBe(want)
  })

  it("decodes as Python's tokenizers do, bytes that are no UTF-8 too", () => {
    for (const { text, ids } of recorded.gpt2.texts) expect(tokenizer.decode(ids)).toBe(text)
    for (const { text, ids } of recorded.gpt2.bytes) expect(tokenizer.decode(ids)).toBe(text)
  })

  it('gives back every random text', () => {
    const random = numbersFrom(5)
    for (let i = 0; i < 300; i++) {
      const text = randomText(random, Math.floor(random() * 60))
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
    }
  })

  it('is read by @huggingface/tokenizers, with the same ids', async () => {
    const text = (await chapters(range(11, 30))).join('')
    expect(text.length).toBeGreaterThan(150_000)
    const bytes = new TextEncoder().encode(JSON.stringify(tokenizer.toTokenizerJSON()))
    const other = await loadTokenizer(bytes)
    expect(other.vocabSize).toBe(tokenizer.vocabSize)
    // white space as JavaScript has it, which is not that of Python
    const strange = STRANGE.filter((one) => !/[\ufeff\u0085]/.test(one))
    for (const one of [text, ...strange]) {
      const ids = tokenizer.encode(one)
      expect(other.encode(one)).toEqual(ids)
      expect(other.decode(ids)).toBe(one)
    }
  })

  it('cuts words as the regular expression does', async () => {
    const pattern =
      /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu
    const random = numbersFrom(6)
    const letters = [..." \n\t'sretvmlda19.\u0085é漢😀²"]
    for (let i = 0; i < 300; i++) {
      const text = Array.from({ length: 40 }, () => letters[Math.floor(random() * letters.length)])
        .join('')
        .concat(randomText(random, 10))
      const words = text.match(pattern) ?? []
      expect(tokenizer.encode(text)).toEqual(words.flatMap((word) => tokenizer.encode(word)))
    }
  })

  it('encodes very long words in less than quadratic time', () => {
    const random = numbersFrom(7)
    const letter = () => 'abcdefghijklmnopqrstuvwxyz'[Math.floor(random() * 26)]
    const words = [
      'a'.repeat(300_000),
      Array.from({ length: 300_000 }, letter).join(''),
      ' '.repeat(300_000),
      '漢'.repeat(100_000),
    ]
    const start = performance.now()
    for (const word of words) expect(tokenizer.decode(tokenizer.encode(word))).toBe(word)
    // half a second; quadratic time would be minutes
    expect(performance.now() - start).toBeLessThan(20_000)
  })

  it('keeps its answers when more words came than it remembers', () => {
    const ids = tokenizer.encode(' Ishmael')
    const words = Array.from({ length: 150_000 }, (_, i) => ` w${i}x`)
    expect(tokenizer.decode(tokenizer.encode(words.join('')))).toBe(words.join(''))
    expect(tokenizer.encode(' Ishmael')).toEqual(ids)
  })

  it('reads files with other ends of lines, and special tokens of its own', async () => {
    const { vocab, merges } = await gpt2Files()
    const text = new TextDecoder().decode(merges).replaceAll('\n', '\r\n')
    const options = { special_tokens: [END, '<pad>'] }
    const other = await BPETokenizer.fromGPT2(
      { vocab, merges: new TextEncoder().encode(text) },
      options,
    )
    expect(other.vocabSize).toBe(50258)
    expect(other.encode('Call me <pad>')).toEqual([...tokenizer.encode('Call me '), 50257])
  })
})

describe('trainBPE', () => {
  const trained = async (name: string) => {
    const found = recorded.trained.find((one) => one.name === name) as Case
    const { vocab_size, min_frequency, special_tokens } = found
    const texts = found.texts ?? (await chapters(found.chapters ?? []))
    return { found, bpe: await trainBPE(texts, { vocab_size, min_frequency, special_tokens }) }
  }

  it.each([
    'a chapter',
    'chapters, with a special token',
    'least frequency',
    'runs',
    'corner cases',
  ])("makes the vocabulary of Python's BpeTrainer: %s", async (name) => {
    const { found, bpe } = await trained(name)
    const { merges } = bpe.toTokenizerJSON().model
    expect(bpe.vocabSize).toBe(found.size)
    expect(merges.slice(-10)).toEqual(found.last_merges)
    expect(await digest(merges)).toBe(found.merges)
    expect(await digest(tokensOf(bpe))).toBe(found.tokens)
    expect(await digest(bpe.encode(await chapter(2)))).toBe(found.ids)
  })

  it('has every recorded case above', () => {
    expect(recorded.trained).toHaveLength(5)
  })

  it('is the same for texts at once, one by one, and as they arrive', async () => {
    const texts = await chapters([1, 2, 3])
    const want = await trainBPE(texts, { vocab_size: 500 })
    async function* arriving() {
      for (const text of texts) yield await Promise.resolve(text)
    }
    for (const other of [new Set(texts), arriving()])
      expect((await trainBPE(other, { vocab_size: 500 })).toJSON()).toEqual(want.toJSON())
    const one = await trainBPE(texts[0] as string, { vocab_size: 500 })
    expect(one.toJSON()).toEqual(
      (await trainBPE([texts[0] as string], { vocab_size: 500 })).toJSON(),
    )
  })

  it('does not learn from special tokens', async () => {
    const text = `one two${END}`.repeat(100)
    const bpe = await trainBPE(text, { vocab_size: 400, special_tokens: [END] })
    expect(bpe.idOf(END)).toBe(0)
    const tokens = tokensOf(bpe).slice(257)
    expect(tokens).toContain('Ġtwo')
    expect(tokens.join()).not.toContain('end')
    // spelled as the bytes of ` two`
    const spelled = await trainBPE(text, { vocab_size: 400, special_tokens: ['Ġtwo'] })
    expect(spelled.decode(spelled.encode('one two Ġtwo'))).toBe('one two Ġtwo')
    expect(spelled.encode(' two')).not.toContain(0)
  })

  it('tells how far it has come', async () => {
    const told: { texts: number; tokens: number; vocab_size: number }[] = []
    await trainBPE(await chapters([1, 2]), {
      vocab_size: 300,
      on_progress: (progress) => void told.push(progress),
    })
    expect(told.at(-1)).toEqual({ texts: 2, tokens: 300, vocab_size: 300 })
    const failing = { on_progress: () => Promise.reject(new RangeError('mine')) }
    await expect(trainBPE('abab', failing)).rejects.toThrow('mine')
  })

  it('is aborted', async () => {
    const reason = new Error('enough')
    const now = trainBPE('abab', { signal: AbortSignal.abort(reason) })
    await expect(now).rejects.toBe(reason)
    const controller = new AbortController()
    function* texts() {
      for (;;) yield 'the same text again '
    }
    setTimeout(() => controller.abort(reason), 20)
    await expect(trainBPE(texts(), { signal: controller.signal })).rejects.toBe(reason)
  })

  it('is aborted while it waits for a text, and lets go of where they come from', async () => {
    const controller = new AbortController()
    let ended = 0
    const never = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => {}),
        return: async () => ({ done: true as const, value: void ended++ }),
      }),
    }
    const reason = new Error('enough')
    setTimeout(() => controller.abort(reason), 20)
    await expect(trainBPE(never, { signal: controller.signal })).rejects.toBe(reason)
    expect(ended).toBe(1)
  })

  it('refuses texts and options that do not fit', async () => {
    for (const bad of [5, null, undefined, {}, [5], ['\ud800'], [null]] as string[][])
      await expectError(trainBPE(bad), 'invalid_argument', /text/)
    await expectError(trainBPE([]), 'invalid_argument', /nothing to learn/)
    await expectError(trainBPE(['', '']), 'invalid_argument', /nothing to learn/)
    const bad = [{ vocab_size: 255 }, { vocab_size: 1e9 }, { min_frequency: -1 }, { vocab: 300 }]
    for (const options of [...bad, { vocab_size: '300' }] as object[])
      await expectError(trainBPE('abab', options), 'invalid_options', /vocab|min_frequency/)
    const options = { vocab_size: 256, special_tokens: [END] }
    await expectError(trainBPE('abab', options), 'invalid_options', /from 257/)
    const letter = { special_tokens: ['a'] }
    await expectError(trainBPE('abab', letter), 'invalid_argument', /name another/)
    const signal = {} as AbortSignal
    await expectError(trainBPE('abab', { signal }), 'invalid_argument', /AbortSignal/)
  })

  it('trains on very long words in less than quadratic time', async () => {
    const random = numbersFrom(8)
    const text = Array.from({ length: 300_000 }, () => 'acgt'[Math.floor(random() * 4)]).join('')
    const start = performance.now()
    const bpe = await trainBPE(text, { vocab_size: 1000 })
    expect(performance.now() - start).toBeLessThan(20_000)
    expect(bpe.decode(bpe.encode(text))).toBe(text)
  })
})
