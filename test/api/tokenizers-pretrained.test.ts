import { describe, expect, it } from 'vitest'
import { XTransformersError } from 'x-transformers'
import { loadTokenizer, PretrainedTokenizer, tokenizerFrom } from 'x-transformers/tokenizers'
import { expectError, expectProgress, type ProgressReport } from './bytes.js'
import { numbersFrom } from './gpt2.js'

const bytesOf = (json: unknown) => new TextEncoder().encode(JSON.stringify(json))
const vocabOf = (tokens: readonly string[]) =>
  Object.fromEntries(tokens.map((token, id) => [token, id]))
const added = (tokens: readonly string[], all: readonly string[]) =>
  tokens.map((content) => ({
    ...{ id: all.indexOf(content), content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }))

/** As BERT has it. */
function wordPiece() {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]']
  const tokens = [...special, 'call', 'me', 'ish', '##mael', '.', ',', 'cafe']
  const template = (name: string) => ({ SpecialToken: { id: name, type_id: 0 } })
  const single = [template('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, template('[SEP]')]
  return {
    version: '1.0',
    added_tokens: added(special, tokens),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: single,
      special_tokens: Object.fromEntries(
        ['[CLS]', '[SEP]'].map((id) => [id, { id, ids: [tokens.indexOf(id)], tokens: [id] }]),
      ),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: vocabOf(tokens),
    },
  }
}

/** As Llama has it: blanks are letters, and what is in no token is its bytes. */
function byteFallback() {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', '▁a', 'ab', '▁ab']
  return {
    version: '1.0',
    added_tokens: added(['<unk>', '<s>', '</s>'], tokens),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: vocabOf(tokens),
      merges: ['▁ a', 'a b', '▁ ab'],
    },
  }
}

const config = {
  bos_token: '[CLS]',
  eos_token: { content: '[SEP]', special: true },
  pad_token: '[PAD]',
  unk_token: '[UNK]',
}

describe('loadTokenizer', () => {
  it('reads a tokenizer.json', async () => {
    const reports: ProgressReport[] = []
    const bytes = bytesOf(wordPiece())
    const tokenizer = await loadTokenizer(new Blob([bytes]), {
      on_progress: (progress) => reports.push(progress),
    })
    expect(tokenizer).toBeInstanceOf(PretrainedTokenizer)
    expectProgress(reports, bytes.length)
    expect(tokenizer.vocabSize).toBe(11)
    expect(tokenizer.encode('Call me Ishmael.')).toEqual([2, 4, 5, 6, 7, 8, 3])
    expect(tokenizer.encode('Café, x', { add_special_tokens: false })).toEqual([10, 9, 1])
    expect(tokenizer.decode([2, 4, 5, 6, 7, 8, 3])).toBe('[CLS] call me ishmael . [SEP]')
    expect(tokenizer.decode([2, 4, 5, 6, 7, 3], { skip_special_tokens: true })).toBe(
      'call me ishmael',
    )
    expect([tokenizer.idOf('##mael'), tokenizer.tokenOf(7)]).toEqual([7, '##mael'])
    expect([tokenizer.idOf('nothing'), tokenizer.tokenOf(11)]).toEqual([null, null])
    expect(tokenizer.eosTokenId).toBeNull()
  })

  it('knows from the configuration what special tokens are for', async () => {
    const files = { tokenizer: bytesOf(wordPiece()), config: bytesOf(config) }
    const tokenizer = await loadTokenizer(files)
    const { bosTokenId, eosTokenId, padTokenId, unkTokenId } = tokenizer
    expect([bosTokenId, eosTokenId, padTokenId, unkTokenId]).toEqual([2, 3, 0, 1])
    expect([...tokenizer.specialTokens.values()].sort()).toEqual([0, 1, 2, 3])
  })

  it('changes blanks before punctuation only where the configuration says so', async () => {
    const tokenizer = bytesOf(wordPiece())
    const clean = { clean_up_tokenization_spaces: true }
    const cleaning = await loadTokenizer({ tokenizer, config: bytesOf(clean) })
    expect((await loadTokenizer(tokenizer)).decode([4, 9, 5, 8])).toBe('call , me .')
    expect(cleaning.decode([4, 9, 5, 8])).toBe('call, me.')
    // the blank was told before the comma came
    const stream = cleaning.stream()
    expect([4, 9, 5, 8].map((id) => stream.push(id)).join('')).toBe('call , me .')
  })

  it('is made again of its JSON', async () => {
    const files = { tokenizer: bytesOf(wordPiece()), config: bytesOf(config) }
    const tokenizer = await loadTokenizer(files)
    const again = await tokenizerFrom(JSON.parse(JSON.stringify(tokenizer)))
    expect(again).toBeInstanceOf(PretrainedTokenizer)
    expect(again.encode('Call me')).toEqual(tokenizer.encode('Call me'))
    expect((again as PretrainedTokenizer).eosTokenId).toBe(3)
  })

  it('decodes ids that come one by one', async () => {
    const random = numbersFrom(11)
    const letters = ['a', 'b', ' ', 'é', '漢', '👍', '\uFFFD', '▁']
    const tokenizer = await loadTokenizer(bytesOf(byteFallback()))
    for (let i = 0; i < 50; i++) {
      const text = Array.from({ length: 60 }, () => letters[Math.floor(random() * 8)]).join('')
      const ids = tokenizer.encode(text)
      const stream = tokenizer.stream()
      const pieces = ids.map((id) => stream.push(id))
      expect(pieces.join('') + stream.end()).toBe(tokenizer.decode(ids))
    }
    const stream = tokenizer.stream()
    const thumb = tokenizer.encode('👍').slice(1)
    expect(thumb.map((id) => stream.push(id))).toEqual(['', '', '', '👍'])
    expect(stream.push(tokenizer.encode('a'))).toContain('a')
    // bytes that are no character, without end
    const bad = Array.from({ length: 500 }, () => stream.push(tokenizer.idOf('<0x80>') as number))
    expect(bad.join('').length + stream.end().length).toBeGreaterThan(400)
    const words = await loadTokenizer(bytesOf(wordPiece()))
    const long = Array.from({ length: 200 }, (_, i) => [4, 5, 6, 7][i % 4] as number)
    const told = words.stream()
    expect(() => told.push([4, 5, 11])).toThrow(XTransformersError)
    expect(long.map((id) => told.push(id)).join('')).toBe(words.decode(long))
  })

  it('refuses ids, texts and options that do not fit', async () => {
    const tokenizer = await loadTokenizer(bytesOf(wordPiece()))
    expect(tokenizer.decode([])).toBe('')
    expect(tokenizer.encode('')).toEqual([2, 3])
    for (const bad of [[11], [-1], [1.5], 'a'] as number[][])
      expect(() => tokenizer.decode(bad)).toThrow(XTransformersError)
    expect(() => tokenizer.encode('\ud800')).toThrow(/surrogates/)
    expect(() => tokenizer.encode('a', { split_special_tokens: true })).toThrow(/BPETokenizer/)
    const model = { type: 'BPE', vocab: vocabOf(['a', 'b']), merges: [] }
    const lacking = await loadTokenizer(bytesOf({ model }))
    expect(lacking.encode('ab')).toEqual([0, 1])
    const options = { sign: 1 } as object
    await expectError(loadTokenizer(bytesOf({ model }), options), 'invalid_options', /sign/)
    const files = { tokenizer: bytesOf({ model }), configuration: 1 } as object
    await expectError(loadTokenizer(files as never), 'invalid_options', /configuration/)
  })

  it('refuses files that are none', async () => {
    const broken = { ...wordPiece(), model: { type: 'Nothing' } }
    const { model } = wordPiece()
    for (const bad of [5, null, [], {}, { model: null }, broken, { model: { vocab: 5 } }])
      await expectError(loadTokenizer(bytesOf(bad)), 'invalid_checkpoint', /./)
    for (const id of [1e12, 4e9, -1, 0.5, 'a', null]) {
      const loading = loadTokenizer(bytesOf({ model: { ...model, vocab: { a: 0, b: id } } }))
      await expectError(loading, 'invalid_checkpoint', /ids/)
    }
    const added_tokens = [{ id: 4e9, content: 'x', special: true }]
    const far = loadTokenizer(bytesOf({ ...wordPiece(), added_tokens }))
    await expectError(far, 'invalid_checkpoint', /ids/)
    await expectError(loadTokenizer(new Uint8Array(0)), 'invalid_checkpoint', /no JSON/)
    await expectError(loadTokenizer(5 as never), 'invalid_argument', /source/)
    const notThere = loadTokenizer(new Response('no', { status: 404 }))
    await expectError(notThere, 'file', /404/)
    const good = { tokenizer: bytesOf(wordPiece()), config: bytesOf([1]) }
    await expectError(loadTokenizer(good), 'invalid_checkpoint', /tokenizer_config/)
  })

  it('is aborted', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await expect(loadTokenizer(new Blob(['{}']), { signal })).rejects.toBe(reason)
  })
})

/** A template of the form that most chat models have. */
const CHATML = `{{- bos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if tools is defined %}{{- tools | length }}{% endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}`

/** One that lets users and assistants speak in turn alone. */
const STRICT = `{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}[{{ message['content'] }}]{% endfor %}`

const withTemplate = (chat_template: unknown) =>
  loadTokenizer({
    tokenizer: bytesOf(byteFallback()),
    config: bytesOf({ bos_token: { content: '<s>' }, eos_token: '</s>', chat_template }),
  })

describe('a chat template', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: ' Who are you? ' },
  ]
  const turns =
    '<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n'

  it('makes the text of a conversation, with what begins an answer', async () => {
    const tokenizer = await withTemplate(CHATML)
    expect(await tokenizer.applyChatTemplate(messages)).toBe(turns)
    const asked = await tokenizer.applyChatTemplate(messages, { add_generation_prompt: true })
    expect(asked).toBe(`${turns}<|im_start|>assistant\n`)
  })

  it('knows variables, and tools only where there are some', async () => {
    const tokenizer = await withTemplate(CHATML)
    const tools = [{ type: 'function' }, { type: 'function' }]
    expect(await tokenizer.applyChatTemplate(messages, { tools })).toBe(`${turns}2`)
    const variables = { bos_token: '<other>' }
    const other = await tokenizer.applyChatTemplate(messages, { variables })
    expect(other).toBe(turns.replace('<s>', '<other>'))
  })

  it('is chosen by name, where there are several', async () => {
    const named = (name: string, template: string) => ({ name, template })
    const several = [named('default', 'plain'), named('tool_use', 'tools'), named('rag', 'rag')]
    const tokenizer = await withTemplate(several)
    expect(await tokenizer.applyChatTemplate(messages)).toBe('plain')
    expect(await tokenizer.applyChatTemplate(messages, { tools: [] })).toBe('tools')
    expect(await tokenizer.applyChatTemplate(messages, { chat_template: 'rag' })).toBe('rag')
    const own = { chat_template: '{{ messages | length }}' }
    expect(await tokenizer.applyChatTemplate(messages, own)).toBe('2')
    const none = await withTemplate(several.slice(1))
    await expectError(none.applyChatTemplate(messages), 'not_available', /tool_use, rag/)
  })

  it('refuses what it says that it refuses', async () => {
    const tokenizer = await withTemplate(STRICT)
    expect(await tokenizer.applyChatTemplate([{ role: 'user', content: 'a' }])).toBe('[a]')
    await expectError(
      tokenizer.applyChatTemplate(messages),
      'invalid_argument',
      /Roles must alternate/,
    )
  })

  it('is an error where there is none, or it is damaged', async () => {
    const without = await withTemplate(undefined)
    await expectError(without.applyChatTemplate(messages), 'not_available', /no chat template/)
    const damaged = await withTemplate('{% for %}')
    await expectError(damaged.applyChatTemplate(messages), 'invalid_argument', /cannot be followed/)
    const wrong = await withTemplate([1])
    await expectError(wrong.applyChatTemplate(messages), 'invalid_checkpoint', /chat_template/)
  })

  it('takes messages that have a role', async () => {
    const tokenizer = await withTemplate(CHATML)
    const given = [{ content: 'a' }] as never
    await expectError(tokenizer.applyChatTemplate(given), 'invalid_argument', /message 0/)
    await expectError(
      tokenizer.applyChatTemplate('hello' as never),
      'invalid_argument',
      /an array of objects with role/,
    )
    const wrong = { add_prompt: true } as never
    await expectError(tokenizer.applyChatTemplate(messages, wrong), 'invalid_options', /add_prompt/)
  })
})
