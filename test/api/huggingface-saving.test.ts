// What toHuggingFace writes: the same names and values that fromHuggingFace has read.
import { describe, expect, it } from 'vitest'
import {
  Decoder,
  LoRA,
  load as loadModel,
  loadTensors,
  saveTensors,
  TransformerWrapper,
} from 'x-transformers'
import { fromHuggingFace, toHuggingFace } from 'x-transformers/huggingface'
import { expectError, FakeFile } from './bytes.js'
import { numbers } from './helpers.js'
import { CASES, Folder, filesOf, folderOf, jsonBytes, recordedCase } from './huggingface.js'

/** The values of tensors by name. */
const valuesOf = async (bytes: Uint8Array) => {
  const { tensors } = await loadTensors(bytes)
  return new Map([...tensors].map(([name, x]) => [name, { shape: x.shape, values: numbers(x) }]))
}

const contentOf = (folder: Folder, name: string) => folder.files.get(name)?.content as Uint8Array

describe('what was read', () => {
  it.each(CASES)('is written as it was: %s', async (name) => {
    const recorded = await recordedCase(name)
    const files = await filesOf(recorded)
    const { model } = await fromHuggingFace(files)
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const before = await valuesOf(files['model.safetensors'] as Uint8Array)
    const after = await valuesOf(contentOf(folder, 'model.safetensors'))
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort())
    for (const [key, value] of before) expect(after.get(key), key).toEqual(value)
    expect(folder.json('config.json')).toEqual(recorded.config)
  })

  it('becomes several files with an index, and one again', async () => {
    const { model } = await fromHuggingFace(await folderOf('sharded'))
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const whole = await valuesOf(contentOf(folder, 'model.safetensors'))
    await toHuggingFace(model, folder, { max_shard_bytes: 20_000 })
    const names = [...folder.files.keys()]
    expect(names).not.toContain('model.safetensors')
    const shards = names.filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name))
    expect(shards.length).toBeGreaterThan(2)
    for (const name of shards) expect(contentOf(folder, name).length).toBeLessThan(24_000)
    const index = folder.json('model.safetensors.index.json') as {
      weight_map: Record<string, string>
      metadata: { total_size: number }
    }
    expect(Object.keys(index.weight_map).sort()).toEqual([...whole.keys()].sort())
    const sizes = [...whole.values()].map(({ values }) => 4 * values.length)
    expect(index.metadata.total_size).toBe(sizes.reduce((a, b) => a + b, 0))
    const again = await fromHuggingFace(folder.sources)
    const second = new Folder()
    await toHuggingFace(again.model, second)
    expect(await valuesOf(contentOf(second, 'model.safetensors'))).toEqual(whole)
    expect(second.json('generation_config.json').eos_token_id).toEqual([2, 5])
    await toHuggingFace(model, folder)
    const left = ['model.safetensors', 'generation_config.json', 'config.json']
    expect([...folder.files.keys()].sort()).toEqual(left.sort())
  })

  it('has the tokenizer, as its files were', async () => {
    const model = { type: 'WordLevel', vocab: { a: 0, b: 1 }, unk_token: 'a' }
    const others = {
      'tokenizer.json': { model, pre_tokenizer: { type: 'Whitespace' } },
      'tokenizer_config.json': { bos_token: { content: 'a' } },
    }
    const bytes = Object.entries(others).map(([name, json]) => [name, jsonBytes(json)] as const)
    const files = { ...(await folderOf('sharded')), ...Object.fromEntries(bytes) }
    const chat = new TextEncoder().encode('{{ messages[0].content }}')
    const loaded = await fromHuggingFace({ ...files, 'chat_template.jinja': chat })
    const folder = new Folder()
    await toHuggingFace(loaded.model, folder)
    for (const [name, json] of Object.entries(others)) expect(folder.json(name)).toEqual(json)
    expect(contentOf(folder, 'chat_template.jinja')).toEqual(chat)
  })
})

describe('a decoder without a head', () => {
  it.each([
    ['llama-2', 'LlamaModel', /^model\./],
    ['mistral', 'MistralModel', /^model\./],
    ['olmo-1', 'OlmoModel', /^model\./],
    ['phi-2', 'PhiModel', /^model\./],
    ['phi-3', 'Phi3Model', /^model\./],
    ['gpt-neox', 'GPTNeoXModel', /^gpt_neox\./],
  ])('gives hidden states, and is written again: %s', async (name, its, prefix) => {
    const files = await filesOf(await recordedCase(name), { architectures: [its] })
    const whole = await fromHuggingFace(files)
    const { tensors } = await loadTensors(files['model.safetensors'] as Uint8Array)
    const named = [...tensors].filter(([key]) => prefix.test(key))
    const file = new FakeFile()
    await saveTensors(new Map(named.map(([key, x]) => [key.replace(prefix, ''), x])), file)
    const { model } = await fromHuggingFace({ ...files, 'model.safetensors': file.content })
    const hidden = await model.forward([[3, 4, 5]])
    const want = await whole.model.forward([[3, 4, 5]], { return_embeddings: true })
    expect(numbers(hidden)).toEqual(numbers(want))
    const folder = new Folder()
    await toHuggingFace(model, folder)
    const written = await valuesOf(contentOf(folder, 'model.safetensors'))
    expect(written).toEqual(await valuesOf(file.content))
  })
})

describe('toHuggingFace', () => {
  it('writes trained weights, in a type of choice', async () => {
    const { model } = await fromHuggingFace(await folderOf('sharded'))
    const trained = model.stateDict().get('token_emb.emb.weight')
    const values = new Map([['token_emb.emb.weight', trained?.mul(2)]]) as never
    model.loadStateDict(values, { strict: false })
    const folder = new Folder()
    await toHuggingFace(model, folder, { dtype: 'bf16' })
    const { tensors } = await loadTensors(contentOf(folder, 'model.safetensors'))
    const written = tensors.get('model.embed_tokens.weight')
    expect(written?.dtype).toBe('bf16')
    const want = trained?.cast('bf16').cast('f32').toArray()
    expect(written?.cast('f32').toArray()).toEqual(want)
    expect(folder.json('config.json').dtype).toBe('bfloat16')
    const other = await fromHuggingFace(folder.sources)
    expect(other.model.numParameters).toBe(model.numParameters)
  })

  it('writes a model that load() gave, by its configuration', async () => {
    const recorded = await recordedCase('llama-2')
    const { model, config } = await fromHuggingFace(await filesOf(recorded))
    const again = await loadModel<TransformerWrapper>(await model.saveBytes())
    await expectError(toHuggingFace(again, new Folder()), 'invalid_argument', /give \{ config \}/)
    const folder = new Folder()
    await toHuggingFace(again, folder, { config })
    const { model: third } = await fromHuggingFace(folder.sources)
    expect(third.numParameters).toBe(model.numParameters)
    const wrong = { ...config, rms_norm_eps: 1e-3 }
    const writing = toHuggingFace(again, new Folder(), { config: wrong })
    await expectError(writing, 'invalid_argument', /option norm_eps of its Decoder is 0\.00001/)
  })

  it('refuses a model of load() whose configuration has a head', async () => {
    const { model, config } = await fromHuggingFace(await filesOf(await recordedCase('bert')))
    const again = await loadModel<TransformerWrapper>(await model.saveBytes())
    const writing = toHuggingFace(again, new Folder(), { config })
    const words = /the class BertForPreTraining, and the head of that is not known: load what/
    await expectError(writing, 'invalid_argument', words)
    const folder = new Folder()
    await toHuggingFace(again, folder, { config: { ...config, architectures: ['BertModel'] } })
    expect((await fromHuggingFace(folder.sources)).heads).toEqual({})
    await toHuggingFace(model, folder, { config })
    const { heads } = await fromHuggingFace(folder.sources)
    expect(Object.keys(heads).sort()).toEqual(['mlm', 'nsp', 'pooler'])
  })

  it('removes no file that an index of others names', async () => {
    const { model } = await fromHuggingFace(await folderOf('sharded'))
    const folder = new Folder()
    const names = ['notes.txt', 'model-00007-of-00009.safetensors']
    for (const name of names) await folder.getFileHandle(name, { create: true })
    const index = await folder.getFileHandle('model.safetensors.index.json', { create: true })
    index.content = jsonBytes({ weight_map: { a: names[0], b: names[1] } })
    await toHuggingFace(model, folder)
    expect(folder.files.has('notes.txt')).toBe(true)
    expect(folder.files.has('model-00007-of-00009.safetensors')).toBe(false)
  })

  it('refuses a model that the configuration does not describe', async () => {
    const { config } = await recordedCase('llama-2')
    const layers = new Decoder({ dim: 32, depth: 2, heads: 4 })
    const model = new TransformerWrapper({ num_tokens: 48, max_seq_len: 64, attn_layers: layers })
    const writing = toHuggingFace(model, new Folder(), { config })
    await expectError(writing, 'invalid_argument', /is not the one that config\.json describes/)
    const bert = (await recordedCase('vit')).config
    const other = toHuggingFace(model, new Folder(), { config: bert })
    await expectError(other, 'invalid_argument', /describes a ViTransformerWrapper/)
  })

  it('refuses low-rank updates until they are merged', async () => {
    const { model } = await fromHuggingFace(await filesOf(await recordedCase('llama-2')))
    const lora = new LoRA(model, { r: 2, target_modules: ['*.to_q'] })
    const folder = new Folder()
    await expectError(toHuggingFace(model, folder), 'invalid_state', /merge\(\) them first/)
    expect(folder.files.size).toBe(0)
    lora.merge()
    await toHuggingFace(model, folder)
    expect(folder.files.has('config.json')).toBe(true)
  })

  it('checks its arguments', async () => {
    const { model } = await fromHuggingFace(await folderOf('sharded'))
    const to = (folder: unknown, options = {}) => toHuggingFace(model, folder as never, options)
    await expectError(to(3), 'invalid_argument', /the folder must be a path/)
    await expectError(to(new Folder(), { dtype: 'f64' }), 'invalid_argument', /dtype must be/)
    await expectError(to(new Folder(), { max_shard_bytes: 0 }), 'invalid_argument', /above 0/)
    await expectError(to(new Folder(), { config: 3 }), 'invalid_argument', /config must be/)
    await expectError(to(new Folder(), { type: 'f32' }), 'invalid_options', /type/)
  })
})
