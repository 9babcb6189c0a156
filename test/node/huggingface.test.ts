// Models of Hugging Face in folders and at addresses.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { memory } from 'x-transformers'
import { fromHuggingFace, presets, toHuggingFace } from 'x-transformers/huggingface'
import { loadTokenizer } from 'x-transformers/tokenizers'
import { NativeModel } from '../../ts/models/native-model.js'
import { ASSIGN } from '../../ts/module/submodule.js'
import { expectError } from '../api/bytes.js'
import { collect, numbers } from '../api/helpers.js'

const SHARDED = fileURLToPath(new URL('../huggingface/sharded', import.meta.url))

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const logitsOf = async (source: string | URL) => {
  const { model } = await fromHuggingFace(source)
  return numbers(await model.forward([[3, 4, 5]]))
}

describe('a model of Hugging Face', () => {
  it('is in a folder, by its path or its address', async () => {
    const want = await logitsOf(SHARDED)
    expect(await logitsOf(`${SHARDED}/`)).toEqual(want)
    expect(await logitsOf(pathToFileURL(`${SHARDED}/`))).toEqual(want)
  })

  it('is at an address that ends in a slash, of which some files are not there', async () => {
    const asked: string[] = []
    const server = createServer((request, response) => {
      const name = request.url?.replace('/models/tiny/', '') ?? ''
      asked.push(name)
      if (!readdirSync(SHARDED).includes(name)) return void response.writeHead(404).end()
      response.end(readFileSync(join(SHARDED, name)))
    })
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done))
    try {
      const { port } = server.address() as AddressInfo
      const address = new URL(`http://127.0.0.1:${port}/models/tiny/`)
      for (const source of [address, String(address)])
        expect(await logitsOf(source)).toEqual(await logitsOf(SHARDED))
      expect(asked).toContain('model-00003-of-00003.safetensors')
    } finally {
      await new Promise((done) => server.close(done))
    }
  })

  it('is written to a folder that is made, over what was there', async () => {
    const { model } = await fromHuggingFace(SHARDED)
    const path = join(folder, 'new', 'model')
    await toHuggingFace(model, path, { max_shard_bytes: 20_000 })
    await toHuggingFace(model, path)
    expect(readdirSync(path).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
    ])
    expect(await logitsOf(path)).toEqual(await logitsOf(SHARDED))
    expect(numbers(await model.forward([[3, 4, 5]]))).toEqual(await logitsOf(SHARDED))
  })

  it.skipIf(process.platform === 'win32')('is in a folder of any name', async () => {
    const { model } = await fromHuggingFace(SHARDED)
    for (const name of ['a:', 'a\\', 'a/']) {
      const path = join(folder, 'odd', name)
      await toHuggingFace(model, path)
      expect(await logitsOf(path)).toEqual(await logitsOf(SHARDED))
    }
    expect(readdirSync(join(folder, 'odd')).sort()).toEqual(['a', 'a:', 'a\\'])
  })

  it('is not what is no folder, or a file of GGUF', async () => {
    const file = join(SHARDED, 'config.json')
    await expectError(fromHuggingFace(file), 'invalid_argument', /is no folder: give the folder/)
    const hub =
      /that of a model of the Hub is https:\/\/huggingface\.co\/org\/a-1\.5B\/resolve\/main\//
    await expectError(fromHuggingFace('org/a-1.5B'), 'invalid_argument', hub)
    const slash = fromHuggingFace('https://example.org/model')
    await expectError(slash, 'invalid_argument', /an address that ends in \/$/)
    await expectError(fromHuggingFace('http://:'), 'invalid_argument', /a valid address/)
    const gguf = fromHuggingFace('models/llama-q4.gguf')
    await expectError(gguf, 'not_available', /a file of GGUF, which is not read/)
    await expectError(fromHuggingFace(folder), 'file', /there is no config\.json in/)
  })

  it('has its chat template in the folder, which loadTokenizer finds too', async () => {
    const { model } = await fromHuggingFace(SHARDED)
    const path = join(folder, 'chat')
    await toHuggingFace(model, path)
    const vocab = { '<s>': 0, a: 1 }
    const json = { model: { type: 'WordLevel', vocab, unk_token: '<s>' }, added_tokens: [] }
    writeFileSync(join(path, 'tokenizer.json'), JSON.stringify(json))
    writeFileSync(join(path, 'chat_template.jinja'), '[{{ messages[0].content }}]')
    const message = [{ role: 'user', content: 'a' }]
    const { tokenizer } = await fromHuggingFace(path)
    expect(await tokenizer?.applyChatTemplate(message)).toBe('[a]')
    expect(await (await loadTokenizer(path)).applyChatTemplate(message)).toBe('[a]')
  })
})

it('memory holds the weights once while they are loaded', async () => {
  const sizes = { num_tokens: 2000, max_seq_len: 64, dim: 128, depth: 16, heads: 4 }
  const made = presets.phi3(sizes)
  const path = join(folder, 'large')
  await toHuggingFace(made, path)
  const size = 4 * made.numParameters
  made.dispose()
  await collect()
  const before = memory().native_bytes
  let most = 0
  const assign = NativeModel.prototype[ASSIGN]
  // when the tensors of a file, and what was made of them, are there as well
  const watched = vi.spyOn(NativeModel.prototype, ASSIGN).mockImplementation(function (
    this: NativeModel,
    state,
  ) {
    most = Math.max(most, memory().native_bytes - before)
    assign.call(this, state)
  })
  try {
    const { model } = await fromHuggingFace(path)
    expect(watched.mock.calls.length).toBeGreaterThan(50)
    expect(4 * model.numParameters).toBe(size)
  } finally {
    watched.mockRestore()
  }
  expect(most).toBeGreaterThan(0.9 * size)
  expect(most).toBeLessThan(1.15 * size)
})

it('a folder that cannot be written is an error, and what was there stays', async () => {
  const path = join(folder, 'blocked')
  mkdirSync(join(path, 'model.safetensors'), { recursive: true })
  const model = presets.llama({ num_tokens: 8, max_seq_len: 8, dim: 8, depth: 1, heads: 1 })
  await expectError(toHuggingFace(model, path), 'file', /./)
  expect(readdirSync(path)).toEqual(['model.safetensors'])
})
