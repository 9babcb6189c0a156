import { beforeAll, describe, expect, it } from 'vitest'
import { XTransformersError } from 'x-transformers'
import { BPETokenizer, loadTokenizer, trainBPE } from 'x-transformers/tokenizers'
import { expectError } from './bytes.js'
import { gpt2, gpt2Files, numbersFrom } from './gpt2.js'
import { chapter } from './text.js'

const END = '<|endoftext|>'

let tokenizer: BPETokenizer
beforeAll(async () => {
  tokenizer = await gpt2()
})

describe('tokenizer.json', () => {
  it('is written to a target, and read again', async () => {
    const bpe = await trainBPE(await chapter(1), { vocab_size: 400, special_tokens: [END] })
    const pieces: Uint8Array[] = []
    await bpe.save(new WritableStream({ write: (piece) => void pieces.push(piece) }))
    const file = new Blob(pieces as Uint8Array<ArrayBuffer>[])
    const again = await BPETokenizer.load(file)
    expect(again.toTokenizerJSON()).toEqual(bpe.toTokenizerJSON())
    const other = await loadTokenizer(file)
    const text = `${await chapter(2)}${END}`
    expect(again.encode(text)).toEqual(bpe.encode(text))
    expect(other.encode(text)).toEqual(bpe.encode(text))
    expect([...other.specialTokens]).toEqual([...bpe.specialTokens])
  })

  it('is read with merges as pairs, as newer versions write them', async () => {
    const json = tokenizer.toTokenizerJSON()
    const merges = json.model.merges.map((merge) => merge.split(' '))
    const again = BPETokenizer.fromTokenizerJSON({ ...json, model: { ...json.model, merges } })
    expect(again.encode('Call me Ishmael.')).toEqual(tokenizer.encode('Call me Ishmael.'))
  })

  it('of another kind is refused, with the way to load it', async () => {
    const json = (await trainBPE('abab', { vocab_size: 258 })).toTokenizerJSON()
    const added = { id: 5, content: 'x', special: false }
    const others: object[] = [
      { model: { type: 'WordPiece' } },
      { model: { ...json.model, ignore_merges: true } },
      { model: { ...json.model, byte_fallback: true } },
      { normalizer: { type: 'NFC' } },
      { pre_tokenizer: { type: 'Whitespace' } },
      { pre_tokenizer: null },
      { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } },
      { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false } },
      { post_processor: { type: 'TemplateProcessing' } },
      { decoder: null },
      { added_tokens: [added] },
    ]
    for (const other of others) {
      const run = () => BPETokenizer.fromTokenizerJSON({ ...json, ...other })
      expect(run).toThrow(/loadTokenizer/)
      expect(run).toThrow(expect.objectContaining({ code: 'not_available' }))
    }
  })

  it('is refused where it is damaged', async () => {
    const json = (await trainBPE('abab', { vocab_size: 258 })).toTokenizerJSON()
    const { vocab } = json.model
    const { a: _, ...lacking } = vocab
    const models: object[] = [
      { vocab: null },
      { vocab: [] },
      { vocab: lacking },
      { vocab: { ...vocab, x: -1 } },
      { vocab: { ...vocab, x: 1e15 } },
      { vocab: { ...vocab, x: 0.5 } },
      { vocab: { ...vocab, x: 3 } },
      { vocab: { ...vocab, '': 300 } },
      { vocab: { ...vocab, 'a b': 300 } },
      { merges: null },
      { merges: {} },
      { merges: ['a'] },
      { merges: ['a b c'] },
      { merges: [['a']] },
      { merges: [[1, 2]] },
      { merges: ['a zz'] },
      { merges: ['a c'] },
    ]
    const damaged = [
      null,
      5,
      [],
      {},
      { ...json, model: 5 },
      { ...json, added_tokens: 5 },
      { ...json, added_tokens: [5] },
      { ...json, added_tokens: [{ id: 1, special: true }] },
      { ...json, added_tokens: [{ id: 'x', content: 'x', special: true }] },
      { ...json, added_tokens: [{ id: 9, content: 'ab', special: true }] },
      ...models.map((model) => ({ ...json, model: { ...json.model, ...model } })),
    ]
    for (const one of damaged) {
      const run = () => BPETokenizer.fromTokenizerJSON(one)
      expect(run, JSON.stringify(one)?.slice(-200)).toThrow(
        expect.objectContaining({ code: 'invalid_checkpoint' }),
      )
    }
    const read = (text: string) => BPETokenizer.load(new TextEncoder().encode(text))
    await expectError(read('{'), 'invalid_checkpoint', /no JSON/)
    await expectError(read(''), 'invalid_checkpoint', /no JSON/)
    await expectError(read('<!doctype html>'), 'invalid_checkpoint', /check the address/)
    await expectError(BPETokenizer.load(Uint8Array.of(0xff)), 'invalid_checkpoint', /UTF-8/)
  })

  it('survives any change of a byte', async () => {
    const json = (await trainBPE('ababab', { vocab_size: 260 })).toTokenizerJSON()
    const bytes = new TextEncoder().encode(JSON.stringify(json))
    const random = numbersFrom(9)
    for (let i = 0; i < 300; i++) {
      const changed = bytes.slice()
      changed[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      const loaded = await BPETokenizer.load(changed).catch((error: unknown) => error)
      if (loaded instanceof BPETokenizer) expect(loaded.decode(loaded.encode('abba'))).toBe('abba')
      else expect(loaded).toBeInstanceOf(XTransformersError)
    }
  })

  it('of GPT-2 with files that do not belong together is an error', async () => {
    const { vocab, merges } = await gpt2Files()
    const swapped = BPETokenizer.fromGPT2({ vocab: merges, merges: vocab })
    await expectError(swapped, 'invalid_checkpoint', /JSON/)
    const text = new TextEncoder().encode('#version: 0.2\na b\nqq zz\n')
    await expectError(
      BPETokenizer.fromGPT2({ vocab, merges: text }),
      'invalid_checkpoint',
      /merges/,
    )
    const files = { vocab } as unknown as { vocab: Uint8Array; merges: Uint8Array }
    await expectError(BPETokenizer.fromGPT2(files), 'invalid_argument', /source/)
  })
})

describe('new BPETokenizer', () => {
  it('takes a vocabulary as an object or a Map, and merges in both forms', () => {
    const { vocab, merges } = tokenizer.toTokenizerJSON().model
    const pairs = merges.map((merge) => merge.split(' ') as [string, string])
    const map = new Map(Object.entries(vocab))
    const other = new BPETokenizer({ vocab: map, merges: pairs, special_tokens: [END] })
    expect(other.encode(`Call me${END}`)).toEqual(tokenizer.encode(`Call me${END}`))
  })

  it('refuses what does not fit together', () => {
    for (const bad of [null, undefined, {}, { vocab: {} }, { vocab: {}, merges: [] }, { a: 1 }]) {
      const options = bad as { vocab: object; merges: [] }
      expect(() => new BPETokenizer(options as never)).toThrow(XTransformersError)
    }
  })
})
