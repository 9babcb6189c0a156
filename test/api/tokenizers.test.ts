import { describe, expect, it } from 'vitest'
import { XTransformersError } from 'x-transformers'
import {
  BPETokenizer,
  ByteTokenizer,
  CharacterTokenizer,
  type Tokenizer,
  tokenizerFrom,
  trainBPE,
} from 'x-transformers/tokenizers'
import { expectError } from './bytes.js'
import { numbersFrom, randomText, STRANGE } from './gpt2.js'

const END = '<|endoftext|>'
const SAMPLE = `${STRANGE.join('')}Call me Ishmael.>`
const special_tokens = [END, '<pad>']

/** One of each kind, with special tokens. */
const KINDS: [string, () => Tokenizer | Promise<Tokenizer>][] = [
  ['bytes', () => new ByteTokenizer({ special_tokens })],
  ['characters', () => CharacterTokenizer.of(SAMPLE, { special_tokens })],
  ['bpe', () => trainBPE(SAMPLE, { vocab_size: 300, special_tokens })],
]

function refused(run: () => unknown): XTransformersError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(XTransformersError)
    return error as XTransformersError
  }
  throw new Error('nothing was thrown')
}

describe.each(KINDS)('a tokenizer of %s', (_, make) => {
  it('gives back every text', async () => {
    const tokenizer = await make()
    for (const text of STRANGE) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
      const split = tokenizer.encode(text, { split_special_tokens: true })
      expect(tokenizer.decode(split)).toBe(text)
    }
  })

  it('has ids below vocabSize, each with a token by which it is found', async () => {
    const tokenizer = await make()
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const token = tokenizer.tokenOf(id)
      expect(token).not.toBeNull()
      expect(tokenizer.idOf(token as string)).toBe(id)
    }
    expect(tokenizer.tokenOf(tokenizer.vocabSize)).toBeNull()
    expect(tokenizer.tokenOf(-1)).toBeNull()
    expect(tokenizer.tokenOf(0.5)).toBeNull()
    expect(tokenizer.idOf('no such token')).toBeNull()
  })

  it('finds special tokens, splits them where it is told to, and leaves them out', async () => {
    const tokenizer = await make()
    const [end, pad] = special_tokens.map((token) => tokenizer.idOf(token) as number)
    expect([...tokenizer.specialTokens]).toEqual([
      [END, end],
      ['<pad>', pad],
    ])
    const ids = tokenizer.encode(`e${END}${END}I<pad>`)
    expect(ids).toEqual([tokenizer.encode('e')[0], end, end, tokenizer.encode('I')[0], pad])
    expect(tokenizer.decode(ids)).toBe(`e${END}${END}I<pad>`)
    expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe('eI')
    expect(tokenizer.encode(END, { split_special_tokens: true })).not.toContain(end)
  })

  it('decodes ids that come one by one, and holds back parts of characters', async () => {
    const tokenizer = await make()
    const ids = tokenizer.encode(SAMPLE)
    const stream = tokenizer.stream()
    for (let round = 0; round < 2; round++) {
      const pieces = ids.map((id) => stream.push(id))
      for (const piece of pieces) expect(piece).not.toContain('\uFFFD')
      expect(pieces.join('') + stream.end()).toBe(SAMPLE)
    }
    expect(stream.push(ids) + stream.end()).toBe(SAMPLE)
    const without = tokenizer.stream({ skip_special_tokens: true })
    expect(without.push(tokenizer.encode(`e${END}I`)) + without.end()).toBe('eI')
  })

  it('is made again of its JSON', async () => {
    const tokenizer = await make()
    const again = await tokenizerFrom(JSON.parse(JSON.stringify(tokenizer)))
    expect(again.constructor).toBe(tokenizer.constructor)
    expect(again.vocabSize).toBe(tokenizer.vocabSize)
    expect(again.encode(SAMPLE + END)).toEqual(tokenizer.encode(SAMPLE + END))
    expect(again.toJSON()).toEqual(tokenizer.toJSON())
  })

  it('takes ids of every kind, and refuses what is none', async () => {
    const tokenizer = await make()
    const ids = tokenizer.encode('Call')
    const kinds = [new Set(ids), Int32Array.from(ids), BigInt64Array.from(ids.map(BigInt))]
    for (const kind of kinds) expect(tokenizer.decode(kind)).toBe(tokenizer.decode([...kind]))
    const wrong = [[-1], [0.5], [Number.NaN], ['1'], [tokenizer.vocabSize], [2 ** 53], 'text', 5]
    for (const bad of [...wrong, null, undefined, {}, [[1]]] as number[][])
      expect(refused(() => tokenizer.decode(bad)).code).toBe('invalid_argument')
    const stream = tokenizer.stream()
    expect(refused(() => stream.push([ids[0] as number, -1])).code).toBe('invalid_argument')
    // a refused call has changed nothing
    expect(stream.push(ids)).toBe('Call')
  })

  it('refuses texts that are none, and unknown options', async () => {
    const tokenizer = await make()
    for (const bad of ['\ud800', 'a\udc00b', 5, null, undefined, ['a'], {}] as string[])
      expect(refused(() => tokenizer.encode(bad)).code).toBe('invalid_argument')
    const option = { add_special_token: true } as object
    expect(refused(() => tokenizer.encode('a', option)).code).toBe('invalid_options')
    expect(refused(() => tokenizer.decode([0], option)).code).toBe('invalid_options')
    expect(refused(() => tokenizer.stream(option)).code).toBe('invalid_options')
    const flag = { skip_special_tokens: 1 } as unknown as { skip_special_tokens: boolean }
    expect(refused(() => tokenizer.decode([0], flag)).message).toContain('true or false')
  })
})

describe('bytes and byte-pair encodings', () => {
  it('give back every random text', async () => {
    const random = numbersFrom(3)
    const tokenizers = [new ByteTokenizer(), await trainBPE(SAMPLE, { vocab_size: 400 })]
    for (let i = 0; i < 200; i++) {
      const text = randomText(random, Math.floor(random() * 80))
      for (const tokenizer of tokenizers)
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
    }
  })

  it('decode any ids, at once and one by one', async () => {
    const random = numbersFrom(4)
    for (const tokenizer of [new ByteTokenizer(), await trainBPE(SAMPLE, { vocab_size: 400 })]) {
      for (let i = 0; i < 100; i++) {
        const ids = Array.from({ length: 30 }, () => Math.floor(random() * tokenizer.vocabSize))
        const stream = tokenizer.stream()
        const pieces = ids.map((id) => stream.push(id))
        expect(pieces.join('') + stream.end()).toBe(tokenizer.decode(ids))
      }
    }
  })
})

describe('ByteTokenizer', () => {
  it('has the bytes of UTF-8 as ids', () => {
    const tokenizer = new ByteTokenizer()
    expect(tokenizer.vocabSize).toBe(256)
    expect(tokenizer.encode('aé\n')).toEqual([97, 195, 169, 10])
    expect(tokenizer.tokenOf(10)).toBe('<0x0A>')
    expect(tokenizer.idOf('<0xC3>')).toBe(195)
    expect(tokenizer.decode([97, 195])).toBe('a\uFFFD')
  })

  it('holds back bytes until their character is complete', () => {
    const stream = new ByteTokenizer().stream()
    expect([0xf0, 0x9f, 0x91, 0x8d].map((byte) => stream.push(byte))).toEqual(['', '', '', '👍'])
    expect(stream.push([0xf0, 0x9f]) + stream.end()).toBe('\uFFFD')
    expect(stream.push(97)).toBe('a')
  })
})

describe('CharacterTokenizer', () => {
  it('has the code points of a text as ids, in their order', () => {
    const tokenizer = CharacterTokenizer.of('hello 😀\uffff')
    expect([...'\u0020ehlo\uffff😀'].map((character) => tokenizer.idOf(character))).toEqual([
      0, 1, 2, 3, 4, 5, 6,
    ])
    expect(tokenizer.encode('hole')).toEqual([2, 4, 3, 1])
    expect(new CharacterTokenizer('olleh').encode('hole')).toEqual([1, 3, 2, 0])
  })

  it('leaves out rare characters', () => {
    const tokenizer = CharacterTokenizer.of('aabbbc', { min_count: 2 })
    expect(tokenizer.vocabSize).toBe(2)
    const error = refused(() => tokenizer.encode('abc'))
    expect(error).toMatchObject({ code: 'invalid_argument' })
    expect(error.message).toContain("unknown: 'skip'")
  })

  it('passes over unknown characters, or has a token for them', () => {
    expect(CharacterTokenizer.of('ab', { unknown: 'skip' }).encode('axb😀')).toEqual([0, 1])
    const tokenizer = CharacterTokenizer.of('ab', { unk_token: '<unk>', special_tokens: [END] })
    expect([...tokenizer.specialTokens.keys()]).toEqual(['<unk>', END])
    expect(tokenizer.encode('ax😀b')).toEqual([0, 2, 2, 1])
    expect(tokenizer.decode([0, 2, 1])).toBe('a<unk>b')
    const options = { unk_token: END, special_tokens: ['<pad>', END] }
    expect(new CharacterTokenizer('ab', options).encode('c')).toEqual([3])
  })

  it('keeps how it treats unknown characters', async () => {
    for (const options of [{ unknown: 'skip' }, { unk_token: '<unk>' }] as const) {
      const tokenizer = CharacterTokenizer.of('ab', options)
      const again = await tokenizerFrom(JSON.parse(JSON.stringify(tokenizer)))
      expect(again.encode('acb')).toEqual(tokenizer.encode('acb'))
    }
  })

  it('does not take the letters of special tokens for those of the text', () => {
    const tokenizer = CharacterTokenizer.of(`ab${END}`, { special_tokens: [END] })
    expect(tokenizer.vocabSize).toBe(3)
    expect(tokenizer.encode(`a${END}b`)).toEqual([0, 2, 1])
  })

  it('refuses options that do not fit', () => {
    const of = (options: object) => refused(() => CharacterTokenizer.of('ab', options))
    expect(of({ min_count: 0 }).message).toContain('min_count')
    expect(of({ unknown: 'drop' }).message).toContain("'error' or 'skip'")
    expect(of({ unknown: 'skip', unk_token: '<unk>' }).code).toBe('invalid_options')
    expect(of({ unk_token: '' }).message).toContain('unk_token')
    expect(of({ special_tokens: ['c', 'c'] }).message).toContain('twice')
    expect(of({ min: 1 }).code).toBe('invalid_options')
    expect(
      refused(() => new CharacterTokenizer('ab', { special_tokens: ['a'] })).message,
    ).toContain('special token')
    for (const bad of [['ab'], [''], ['\ud800'], [5], 5, null] as string[][])
      expect(refused(() => new CharacterTokenizer(bad)).code).toBe('invalid_argument')
  })
})

describe('special tokens', () => {
  it('are found from left to right, the longest first', () => {
    const tokenizer = new ByteTokenizer({ special_tokens: ['<a', '<a>', '>b', '👍🏽', '[^]-\\'] })
    expect(tokenizer.encode('<a>b')).toEqual([257, 98])
    expect(tokenizer.encode('<a👍🏽')).toEqual([256, 259])
    expect(tokenizer.encode('[^]-\\')).toEqual([260])
  })

  it('are refused where they are none', () => {
    for (const bad of [[''], ['\ud800'], [1], 'a', {}, ['a', 'a'], Array(10_001).fill('a')]) {
      const options = { special_tokens: bad as string[] }
      expect(refused(() => new ByteTokenizer(options)).code).toBe('invalid_argument')
    }
  })

  it('take no quadratic time', () => {
    const tokenizer = new ByteTokenizer({ special_tokens: [END, '<', 'a'.repeat(1000)] })
    const text = 'a'.repeat(999).concat('b').repeat(100)
    expect(tokenizer.encode(text).length).toBe(100_000)
  })
})

describe('tokenizerFrom', () => {
  it('refuses what describes no tokenizer', async () => {
    for (const bad of [null, undefined, 5, 'bytes', [], {}, { type: 'toString' }, { type: 5 }])
      await expectError(
        tokenizerFrom(bad),
        'invalid_argument',
        /bytes, characters, bpe, pretrained/,
      )
    await expectError(tokenizerFrom({ type: 'bytes', size: 3 }), 'invalid_options', /size/)
    await expectError(tokenizerFrom({ type: 'characters' }), 'invalid_argument', /characters/)
    await expectError(tokenizerFrom({ type: 'bpe' }), 'invalid_checkpoint', /tokenizer.json/)
    await expectError(
      tokenizerFrom({ type: 'pretrained' }),
      'invalid_checkpoint',
      /must be objects/,
    )
  })

  it('reads what every class writes', async () => {
    const made = await Promise.all(KINDS.map(([, make]) => make()))
    expect(made.map((tokenizer) => tokenizer.toJSON().type)).toEqual(['bytes', 'characters', 'bpe'])
    expect(made[2]).toBeInstanceOf(BPETokenizer)
  })
})
