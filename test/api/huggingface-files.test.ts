// The files of models of Hugging Face: where they are found, and what is wrong with them.
import { describe, expect, it } from 'vitest'
import {
  loadTensors,
  type Source,
  saveTensors,
  type Tensor,
  type XTransformer,
} from 'x-transformers'
import {
  type FromHuggingFace,
  fromHuggingFace,
  presets,
  toHuggingFace,
} from 'x-transformers/huggingface'
import { expectError, expectProgress, FakeFile, type ProgressReport } from './bytes.js'
import { bytesInUse, collect, numbers } from './helpers.js'
import { Folder, filesOf, folderOf, jsonBytes, recordedCase, weightsFile } from './huggingface.js'
import { expectNear, ids } from './huggingface-cases.js'

const WEIGHTS = 'model.safetensors'

/** The files of a case, whose tensors are changed. */
async function changed(
  name: string,
  change: (tensors: Map<string, Tensor>) => void,
): Promise<Record<string, Source>> {
  const files = await filesOf(await recordedCase(name))
  const { tensors } = await loadTensors(files[WEIGHTS] as Uint8Array)
  change(tensors)
  const file = new FakeFile()
  await saveTensors(tensors, file)
  return { ...files, [WEIGHTS]: file.content }
}

/** Expects the recorded logits of a decoder. */
async function expectLogits({ model }: FromHuggingFace, name: string): Promise<void> {
  const { forward } = await recordedCase(name)
  const decoder = model
  expectNear(await decoder.forward(ids(forward.input_ids)), forward.logits)
}

/** The files of a tokenizer of three words, with this configuration. */
function tokenizerFiles(config: object): Record<string, Source> {
  const model = { type: 'WordLevel', vocab: { '<s>': 0, call: 1, me: 2 }, unk_token: '<s>' }
  const json = { model, pre_tokenizer: { type: 'Whitespace' } }
  return { 'tokenizer.json': jsonBytes(json), 'tokenizer_config.json': jsonBytes(config) }
}

const asFile = ([name, bytes]: [string, Source]) =>
  new File([bytes as Uint8Array<ArrayBuffer>], name)

describe('files of weights', () => {
  it('are several with their index: by name, as a Map, as a list of Files', async () => {
    const files = await folderOf('sharded')
    const named = Object.entries(files)
    for (const source of [files, new Map(named), named.map(asFile)])
      await expectLogits(await fromHuggingFace(source), 'smollm-2')
  })

  it('are the oldest ones of GPT-2: a pickle, names without a prefix, masks as buffers', async () => {
    await expectLogits(await fromHuggingFace(await folderOf('pickled')), 'gpt-2')
  })

  it('tell of their progress, and end where they are to', async () => {
    const files = await folderOf('sharded')
    const reports: ProgressReport[] = []
    await fromHuggingFace(files, { on_progress: (progress) => reports.push(progress) })
    const shards = Object.entries(files).filter(([name]) => name.endsWith('.safetensors'))
    const size = shards.reduce((sum, [, bytes]) => sum + (bytes as Uint8Array).length, 0)
    expectProgress(reports, size)
    const abort = new AbortController()
    const stop = { signal: abort.signal, on_progress: () => abort.abort(new Error('enough')) }
    await expect(fromHuggingFace(files, stop)).rejects.toThrow('enough')
  })

  it('leave no model behind where the loading is stopped at its end', async () => {
    const sizes = { num_tokens: 4000, max_seq_len: 8, dim: 64, depth: 1, heads: 1 }
    const [made, folder] = [presets.llama(sizes), new Folder()]
    await toHuggingFace(made, folder)
    await collect()
    const before = bytesInUse()
    const abort = new AbortController()
    const on_progress = ({ total }: ProgressReport) => {
      if (total !== null) abort.abort(new Error('late'))
    }
    const loading = fromHuggingFace(folder.sources, { signal: abort.signal, on_progress })
    await expect(loading).rejects.toThrow('late')
    expect(bytesInUse() - before).toBeLessThan(made.numParameters)
  })

  it('name the file of the index that is not there', async () => {
    const { 'model-00002-of-00003.safetensors': _, ...files } = await folderOf('sharded')
    const words = /there is no model-00002-of-00003\.safetensors/
    await expectError(fromHuggingFace(files), 'file', words)
  })

  it('may have what is no weight: frequencies of older versions', async () => {
    const name = 'model.layers.0.self_attn.rotary_emb.inv_freq'
    const files = await changed('llama-2', (tensors) => {
      tensors.set(name, tensors.get('model.norm.weight') as Tensor)
    })
    await expectLogits(await fromHuggingFace(files), 'llama-2')
  })

  it('name a tensor that is missing, unknown, or of another shape', async () => {
    const lost = await changed('llama-2', (all) => all.delete('model.norm.weight'))
    const missing = /tensor model\.norm\.weight is missing/
    await expectError(fromHuggingFace(lost), 'invalid_checkpoint', missing)
    const more = await changed('llama-2', (all) => {
      all.set('model.layers.0.self_attn.q_proj.bias', all.get('model.norm.weight') as Tensor)
    })
    const unknown = /the tensor model\.layers\.0\.self_attn\.q_proj\.bias/
    await expectError(fromHuggingFace(more), 'invalid_checkpoint', unknown)
    const bent = await changed('llama-2', (all) => {
      all.set('model.norm.weight', all.get('lm_head.weight') as Tensor)
    })
    const shaped = /model\.norm\.weight has shape \[48,32\], and needs \[32\]/
    await expectError(fromHuggingFace(bent), 'invalid_checkpoint', shaped)
  })
})

const textBytes = (text: string) => new TextEncoder().encode(text)

/** What servers answer that do not have a file. */
const PAGES: [name: string, page: () => Source][] = [
  ['in bytes', () => textBytes('\n<!DOCTYPE html><html>a page</html>')],
  ['told by its type', () => new URL('data:text/html;charset=utf-8,<!-- a --><p>a page</p>')],
  ['in a Response', () => new Response('{}', { headers: { 'content-type': 'text/html' } })],
]

/** The names of files that a model may have or not. */
const OPTIONAL = [
  ...['generation_config.json', 'tokenizer.json', 'tokenizer_config.json'],
  ...['special_tokens_map.json', 'chat_template.jinja'],
]

/** A source for each name. */
const each = (names: readonly string[], source: () => Source) =>
  Object.fromEntries(names.map((name) => [name, source()]))

describe('a page in place of a file', () => {
  it.each(PAGES)('is no file: %s', async (_, page) => {
    const { 'generation_config.json': _gone, ...sharded } = await folderOf('sharded')
    const whole = { [WEIGHTS]: page() }
    const loaded = await fromHuggingFace({ ...sharded, ...each(OPTIONAL, page), ...whole })
    await expectLogits(loaded, 'smollm-2')
    expect(loaded.tokenizer).toBeUndefined()
    const pickled = await folderOf('pickled')
    const indexes = each([WEIGHTS, 'model.safetensors.index.json'], page)
    await expectLogits(await fromHuggingFace({ ...pickled, ...indexes }), 'gpt-2')
    const shard = { 'model-00002-of-00003.safetensors': page() }
    const words = /there is no model-00002-of-00003\.safetensors/
    await expectError(fromHuggingFace({ ...sharded, ...shard }), 'file', words)
  })

  it('is no chat template, and no configuration', async () => {
    const page = textBytes('<html></html>')
    const files = { ...(await folderOf('sharded')), ...tokenizerFiles({ chat_template: 'old' }) }
    const { tokenizer } = await fromHuggingFace({ ...files, 'chat_template.jinja': page })
    expect(await tokenizer?.applyChatTemplate([{ role: 'user', content: 'me' }])).toBe('old')
    const wrong = fromHuggingFace({ ...files, 'config.json': page })
    await expectError(wrong, 'invalid_checkpoint', /config\.json.*looks like HTML/)
  })
})

it('files that a model can do without may be forbidden, others not', async () => {
  const forbidden = () => new Response('<Error/>', { status: 403 })
  const { 'generation_config.json': _, ...files } = await folderOf('sharded')
  const loaded = await fromHuggingFace({ ...files, ...each(OPTIONAL, forbidden) })
  expect(loaded.tokenizer).toBeUndefined()
  for (const name of ['config.json', 'model-00002-of-00003.safetensors']) {
    const loading = fromHuggingFace({ ...files, [name]: forbidden() })
    await expectError(loading, 'file', /status 403/)
  }
})

it('a pointer of Git LFS is told as what it is', async () => {
  const pointer = textBytes('version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n')
  for (const name of ['tokenizer.json', WEIGHTS]) {
    const loading = fromHuggingFace({ ...(await folderOf('sharded')), [name]: pointer })
    await expectError(loading, 'invalid_checkpoint', /a pointer of Git LFS: fetch the file itself/)
  }
})

describe('a list of Files', () => {
  const inFolder = (path: string, bytes: Source) =>
    Object.defineProperty(asFile([path.replace(/^.*\//, ''), bytes]), 'webkitRelativePath', {
      value: path,
    })

  it('is of the outermost folder that has a config.json', async () => {
    const files = Object.entries(await folderOf('sharded'))
    const pooling = inFolder('tiny/1_Pooling/config.json', jsonBytes({ pooling_mode: 'mean' }))
    const chosen = files.map(([name, bytes]) => inFolder(`tiny/${name}`, bytes))
    const page = inFolder('tiny/onnx/model.safetensors', textBytes('other'))
    for (const list of [[pooling, page, ...chosen], new Set([...chosen, page, pooling])])
      await expectLogits(await fromHuggingFace(list), 'smollm-2')
  })

  it('has each name once', async () => {
    const files = Object.entries(await folderOf('sharded')).map(asFile)
    const twice = [...files, asFile(['config.json', jsonBytes({})])]
    await expectError(fromHuggingFace(twice), 'invalid_argument', /two files "config\.json"/)
  })
})

describe('a head that is to be the embedding', () => {
  const withHead = (of: (embedding: Tensor) => Tensor) =>
    changed('smollm-2', (all) => {
      all.set('lm_head.weight', of(all.get('model.embed_tokens.weight') as Tensor))
    })
  const optionOf = ({ model }: FromHuggingFace) => model.options.tie_embedding

  it('is it where the files have it with the same values', async () => {
    const loaded = await fromHuggingFace(await withHead((embedding) => embedding))
    expect(optionOf(loaded)).toBe(true)
    await expectLogits(loaded, 'smollm-2')
  })

  it('may be the only one of the two, as may any copy of an embedding', async () => {
    const only = await changed('smollm-2', (all) => {
      all.set('lm_head.weight', all.get('model.embed_tokens.weight') as Tensor)
      all.delete('model.embed_tokens.weight')
    })
    const loaded = await fromHuggingFace(only)
    expect(optionOf(loaded)).toBe(true)
    await expectLogits(loaded, 'smollm-2')
    const copies = ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight']
    const t5 = (names: string[]) =>
      changed('t5', (all) => {
        for (const name of names) all.set(name, all.get('shared.weight') as Tensor)
        all.delete('shared.weight')
      })
    const { model } = await fromHuggingFace<XTransformer>(await filesOf(await recordedCase('t5')))
    const want = numbers(model.stateDict().get('encoder.token_emb.emb.weight') as Tensor)
    for (const names of [copies, copies.slice(0, 1), copies.slice(1)]) {
      const { model: other } = await fromHuggingFace<XTransformer>(await t5(names))
      const got = other.stateDict().get('encoder.token_emb.emb.weight') as Tensor
      expect(numbers(got)).toEqual(want)
    }
    const none = fromHuggingFace(await t5([]))
    await expectError(none, 'invalid_checkpoint', /tensor shared\.weight is missing/)
  })

  it('is another one where the files have it with other values', async () => {
    const loaded = await fromHuggingFace(await withHead((embedding) => embedding.mul(2)))
    expect(optionOf(loaded)).toBe(false)
    const { forward } = await recordedCase('smollm-2')
    const decoder = loaded.model
    const logits = await decoder.forward(ids(forward.input_ids))
    expectNear(logits.mul(0.5), forward.logits)
    const folder = new Folder()
    await toHuggingFace(decoder, folder)
    expect(folder.json('config.json').tie_word_embeddings).toBe(false)
    expect(optionOf(await fromHuggingFace(folder.sources))).toBe(false)
  })
})

describe('what comes along', () => {
  it('is how to generate, and which tokens end a text', async () => {
    const { generation, tokens, config } = await fromHuggingFace(await folderOf('sharded'))
    expect(generation).toEqual({ temperature: 0, eos_token: [2, 5], eos_in_prompt: false })
    expect(tokens).toEqual({ bos: 1, eos: [2, 5], pad: 0, decoder_start: null })
    expect(config.model_type).toBe('llama')
  })

  it('is a model that is ready to be used, without dropout', async () => {
    const recorded = await recordedCase('gpt-2')
    const { model } = await fromHuggingFace(await filesOf(recorded, { resid_pdrop: 0.5 }))
    expect(model.training).toBe(false)
    const { forward } = recorded
    const decoder = model
    expectNear(await decoder.forward(ids(forward.input_ids)), forward.logits)
    decoder.train()
    const dropped = await decoder.forward(ids(forward.input_ids))
    expect(() => expectNear(dropped, forward.logits, 0.01)).toThrow()
  })

  it('is no tokenizer, where there is none', async () => {
    expect((await fromHuggingFace(await folderOf('sharded'))).tokenizer).toBeUndefined()
  })

  it('is a tokenizer with its chat template', async () => {
    const files = {
      ...(await folderOf('sharded')),
      ...tokenizerFiles({ bos_token: '<s>', chat_template: 'old' }),
      'chat_template.jinja': textBytes('{{ bos_token }}{{ messages[0].content }}'),
    }
    const { tokenizer } = await fromHuggingFace(files)
    expect(tokenizer?.encode('call me')).toEqual([1, 2])
    expect(await tokenizer?.applyChatTemplate([{ role: 'user', content: 'me' }])).toBe('<s>me')
    expect((await fromHuggingFace(files, { tokenizer: false })).tokenizer).toBeUndefined()
  })

  it('is a tokenizer with special tokens that have a file of their own', async () => {
    const template = '{{ bos_token }}|{{ eos_token }}'
    const special = { bos_token: { content: 'me' }, eos_token: 'call', chat_template: 'no' }
    const files = {
      ...(await folderOf('sharded')),
      ...tokenizerFiles({ bos_token: '<s>', eos_token: null, chat_template: template }),
      'special_tokens_map.json': jsonBytes(special),
    }
    const { model, tokenizer } = await fromHuggingFace(files)
    expect(await tokenizer?.applyChatTemplate([])).toBe('<s>|call')
    expect([tokenizer?.bosTokenId, tokenizer?.eosTokenId]).toEqual([0, 1])
    const folder = new Folder()
    await toHuggingFace(model, folder)
    expect(folder.json('special_tokens_map.json')).toEqual(special)
    expect(folder.json('tokenizer_config.json').eos_token).toBeNull()
  })
})

describe('names of older files', () => {
  it('are those of BERT with gamma and beta, and copies of what is tied', async () => {
    const old = await changed('bert', (all) => {
      for (const [name, tensor] of [...all]) {
        const older = name.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
        all.delete(name)
        all.set(older.replace(/LayerNorm\.bias$/, 'LayerNorm.beta'), tensor)
      }
      const word = all.get('bert.embeddings.word_embeddings.weight') as Tensor
      all.set('cls.predictions.decoder.weight', word)
    })
    const { model, heads } = await fromHuggingFace(old)
    expect(Object.keys(heads).sort()).toEqual(['mlm', 'nsp', 'pooler'])
    expect(model.training).toBe(false)
    const other = await changed('bert', (all) => {
      const word = all.get('bert.embeddings.word_embeddings.weight') as Tensor
      all.set('cls.predictions.decoder.weight', word.mul(2))
    })
    const words = /cls\.predictions\.decoder\.weight is to be a copy of/
    await expectError(fromHuggingFace(other), 'invalid_checkpoint', words)
  })

  it('are those of GPT-NeoX with the head of version 5', async () => {
    const files = await changed('gpt-neox', (all) => {
      all.set('lm_head.weight', all.get('embed_out.weight') as Tensor)
      all.delete('embed_out.weight')
    })
    await expectLogits(await fromHuggingFace(files), 'gpt-neox')
  })
})

it('a file of weights of half precision is read as f32', async () => {
  const files = await filesOf(await recordedCase('llama-2'))
  const { tensors } = await loadTensors(await weightsFile('llama-2.safetensors'))
  const logitsOf = async (rounded: (x: Tensor) => Tensor) => {
    const file = new FakeFile()
    await saveTensors(new Map([...tensors].map(([name, x]) => [name, rounded(x)])), file)
    const { model } = await fromHuggingFace({ ...files, [WEIGHTS]: file.content })
    const { forward } = await recordedCase('llama-2')
    return await model.forward(ids(forward.input_ids))
  }
  const half = await logitsOf((x) => x.cast('bf16'))
  expect(half.dtype).toBe('f32')
  expect(numbers(half)).toEqual(numbers(await logitsOf((x) => x.cast('bf16').cast('f32'))))
  expect(numbers(half)).not.toEqual(numbers(await logitsOf((x) => x)))
})
