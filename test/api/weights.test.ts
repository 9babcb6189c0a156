// Weights from Python: the files of test/checkpoints, from every kind of source.
import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  Module,
  ones,
  randn,
  saveTensors,
  type Tensor,
  tensor,
  XTransformersError,
  zeros,
} from 'x-transformers'
import {
  endless,
  expectError,
  expectProgress,
  FakeFile,
  inPieces,
  type ProgressReport,
  watchRejections,
} from './bytes.js'
import { bytesInUse, ids, numbers, smallModel } from './helpers.js'
import { expectRecorded, makeRecorded, recorded, recordedJson } from './recorded.js'

const CLEAN = { missing: [], unexpected: [], mismatched: [], prefix: null }

describe('weights saved by Python', () => {
  it.each([
    ['model.pt', null, 'logits'],
    ['protocol4.pt', null, 'logits'],
    ['nested.pt', null, 'logits'],
    ['parallel.pt', 'module.', 'logits'],
    ['autoregressive.pt', 'net.', 'logits'],
    ['bf16.pt', null, 'bf16'],
    ['model.safetensors', null, 'logits'],
    ['f16.safetensors', null, 'f16'],
    ['bf16.safetensors', null, 'bf16'],
  ] as const)('compute the same: %s', async (name, prefix, logits) => {
    const bytes = await recorded(name)
    const model = await makeRecorded()
    expect(await model.loadWeights(bytes)).toEqual({ ...CLEAN, prefix })
    await expectRecorded(model, logits)
    const second = await makeRecorded()
    expect(second.loadWeightsSync(bytes)).toEqual({ ...CLEAN, prefix })
    await expectRecorded(second, logits)
    const third = await makeRecorded()
    expect(third.loadStateDict((await loadTensors(bytes)).tensors)).toEqual({ ...CLEAN, prefix })
    await expectRecorded(third, logits)
    for (const { dtype } of third.parameters()) expect(dtype).toBe('f32')
  })

  it('of a wrapper are loaded into the same wrapper', async () => {
    const net = await makeRecorded()
    expect(
      await new AutoregressiveWrapper(net).loadWeights(await recorded('autoregressive.pt')),
    ).toEqual(CLEAN)
    await expectRecorded(net)
  })

  it.each(['model.pt', 'model.safetensors'])(
    'are read from every kind of source: %s',
    async (name) => {
      const bytes = await recorded(name)
      const sources = [
        bytes,
        bytes.buffer,
        new Blob([bytes]),
        new File([bytes], name),
        new FakeFile(bytes),
        new Response(bytes),
        new Response(inPieces(bytes, 100), { headers: { 'content-length': String(bytes.length) } }),
        inPieces(bytes, 1),
        inPieces(bytes, 777),
        new URL(URL.createObjectURL(new Blob([bytes]))),
      ]
      for (const source of sources) {
        const model = await makeRecorded()
        const told: ProgressReport[] = []
        await model.loadWeights(source, { on_progress: (progress) => told.push(progress) })
        await expectRecorded(model)
        expectProgress(told, bytes.length)
      }
    },
  )

  it('in several files are given as a list, with or without their index', async () => {
    const parts = await Promise.all(
      ['1', '2'].map((i) => recorded(`sharded-0000${i}-of-00002.safetensors`)),
    )
    const index = await recorded('sharded.safetensors.index.json')
    for (const list of [
      parts,
      [index, ...parts],
      [new Blob([parts[1] as never]), new Blob([index]), inPieces(parts[0] as never, 99)],
    ]) {
      const model = await makeRecorded()
      const told: ProgressReport[] = []
      expect(
        await model.loadWeights(list, { on_progress: (progress) => told.push(progress) }),
      ).toEqual(CLEAN)
      await expectRecorded(model)
      expect(told.at(-1)?.total).toBe(told.at(-1)?.loaded)
    }
    expect(loadTensorsSync([index, ...parts]).tensors.size).toBe(
      (await loadTensors(parts)).tensors.size,
    )
    const [first] = parts as [Uint8Array]
    await expectError(
      loadTensors([index, first]),
      'invalid_checkpoint',
      /tensor .* is in sharded-00002-of-00002.safetensors/,
    )
    await expectError(loadTensors([first, first]), 'invalid_checkpoint', /is in two of the files/)
    await expectError(
      loadTensors(index),
      'invalid_argument',
      /give all of them, as \[index, file, file\]/,
    )
    await expectError(load(index), 'invalid_checkpoint', /loadWeights/)
  })

  it('have the values, shapes and types of Python', async () => {
    const want =
      await recordedJson<Record<string, { shape: number[]; data: number[] }>>('views.json')
    for (const name of ['views.pt', 'views.safetensors']) {
      for (const { tensors } of [
        await loadTensors(await recorded(name)),
        loadTensorsSync(await recorded(name)),
      ]) {
        expect([...tensors.keys()].sort()).toEqual(Object.keys(want).sort())
        for (const [key, value] of tensors) {
          expect(value.shape, key).toEqual(want[key]?.shape)
          expect(numbers(value), key).toEqual(want[key]?.data.map(Number))
        }
        expect([
          tensors.get('bool')?.dtype,
          tensors.get('bf16')?.dtype,
          tensors.get('i8')?.dtype,
        ]).toEqual(['bool', 'bf16', 'i64'])
      }
    }
  })

  it('are selected among several dicts by the option key', async () => {
    const bytes = await recorded('two.pt')
    const model = await makeRecorded()
    await expectError(
      model.loadWeights(bytes),
      'invalid_checkpoint',
      /option `key`: `model` \(tensors: \d+\), `ema`/,
    )
    await model.loadWeights(bytes, { key: 'model' })
    await expectRecorded(model)
    const { tensors } = await loadTensors(bytes, { key: 'ema' })
    expect(tensors.get('to_logits.bias')?.abs().sum().item()).toBe(0)
    await expectError(
      loadTensors(bytes, { key: 5 as never }),
      'invalid_argument',
      /key must be a string/,
    )
  })
})

describe('weights beside other data', () => {
  it('are found beside the other data of PyTorch files', async () => {
    for (const name of ['beside.pt', 'usual.pt', 'unchecked.pt']) {
      const { tensors } = await loadTensors(await recorded(name))
      expect([...tensors.keys()], name).toEqual(['weight', 'bias'])
      expect(numbers(tensors.get('bias') as Tensor), name).toEqual([-1, 0.5])
    }
    const { tensors } = await loadTensors(await recorded('attributes.pt'))
    expect([...tensors.keys()]).toEqual(['weight', 'bias', 'buffer', 'frozen'])
  })

  it('of a checkpoint with numbers as tensors are those of the model', async () => {
    const bytes = await recorded('nanogpt.pt')
    const model = await makeRecorded()
    expect(await model.loadWeights(bytes)).toEqual(CLEAN)
    const { tensors } = loadTensorsSync(bytes)
    expect([...tensors.keys()]).toEqual([...model.stateDict().keys()])
    for (const [name, value] of tensors) {
      expect(numbers(value), name).toEqual(numbers(model.stateDict().get(name) as Tensor))
    }
  })

  it('are selected by a path, and ambiguous files list what they contain', async () => {
    const bytes = await recorded('outer.pt')
    const message =
      /several dicts.*`key`: `backbone` \(tensors: 2\); `` is the outer dict itself \(tensors: 1\)/
    await expectError(loadTensors(bytes), 'invalid_checkpoint', message)
    expect([...loadTensorsSync(bytes, { key: 'backbone' }).tensors.keys()]).toEqual([
      'weight',
      'bias',
    ])
    expect([...loadTensorsSync(bytes, { key: '' }).tensors.keys()]).toEqual(['mean'])
    const deep = loadTensorsSync(await recorded('deep.pt'), { key: '0.a.b.c' })
    expect([...deep.tensors.keys()]).toEqual(['weight', 'bias'])
  })

  it('are stripped of the prefixes of DataParallel and torch.compile', async () => {
    const { tensors } = await loadTensors(await recorded('model.pt'))
    for (const prefix of [
      '_orig_mod.',
      'module._orig_mod.',
      '_orig_mod.module.',
      '_orig_mod.module.net.',
    ]) {
      const model = await makeRecorded()
      const named = new Map([...tensors].map(([name, value]) => [prefix + name, value]))
      expect(model.loadStateDict(named)).toEqual({ ...CLEAN, prefix })
      await expectRecorded(model)
    }
  })

  it('of every type have the values of Python, or are an error that names the type', async () => {
    const want = await recordedJson<Record<string, (number | string)[]>>('types.json')
    const number = (x: number | string) =>
      typeof x === 'number' ? x : Number(x.replace('inf', 'Infinity'))
    for (const name of ['types.pt', 'types.safetensors']) {
      const { tensors } = await loadTensors(await recorded(name))
      expect([...tensors.keys()].sort()).toEqual(Object.keys(want).sort())
      for (const [key, value] of tensors) {
        expect(numbers(value), key).toEqual(want[key]?.map(number))
        expect(value.dtype, key).toBe(key.startsWith('float8') ? 'f32' : 'i64')
      }
    }
    const strange = await recorded('strange.pt')
    for (const [key, message] of [
      ['neg', /tensor `x` is negated lazily.*not supported/],
      ['conj', /tensor `x` is conjugated lazily.*not supported/],
      ['sparse', /tensor `x` is sparse, which is not supported/],
      ['quantized', /tensor `x` is quantized, which is not supported/],
      ['packed', /tensor `x` has the type torch.float4_e2m1fn_x2, which is not supported/],
    ] as const) {
      await expectError(loadTensors(strange, { key }), 'not_available', message)
    }
    for (const [name, message] of [
      ['complex.pt', /tensor `odd` has the type torch.ComplexFloatStorage/],
      ['large.pt', /tensor `large` has values from 2\^63 on/],
      ['large.safetensors', /tensor `large` has values from 2\^63 on/],
    ] as const) {
      await expectError(loadTensors(await recorded(name)), 'not_available', message)
    }
  })
})

describe('a rejected file', () => {
  it.each([
    ['old.pt', /before version 1.6.*torch.save\(torch.load/],
    ['hostile.pt', /system`.*Nothing in the file was executed/],
    ['whole.pt', /TransformerWrapper`.*torch.save\(model.state_dict\(\), path\)/],
    ['packed.pt', /compressed/],
    ['big-endian.pt', /little-endian/],
    ['missing.pt', /tensor `bias` is missing/],
    ['other.zip', /none that torch.save has made/],
  ])('has a reason: %s', async (name, message) => {
    const bytes = await recorded(name)
    const model = await makeRecorded()
    const before = model.parameters().map(numbers)
    for (const source of [bytes, new Blob([bytes]), inPieces(bytes, 500)]) {
      await expectError(model.loadWeights(source), 'invalid_checkpoint', message)
    }
    expect(() => loadTensorsSync(bytes)).toThrow(message)
    expect(model.parameters().map(numbers)).toEqual(before)
  })

  it('names the tensor if it is truncated', async () => {
    const bytes = await recorded('model.safetensors')
    const cut = bytes.slice(0, bytes.length - 3)
    for (const source of [cut, new Blob([cut]), inPieces(cut, 500)]) {
      await expectError(
        loadTensors(source),
        'invalid_checkpoint',
        /in the middle of tensor `token_emb.emb.weight`/,
      )
    }
    const whole = await recorded('model.pt')
    await expectError(
      loadTensors(whole.slice(0, 5000)),
      'invalid_checkpoint',
      /cut short: it ends after 5000 bytes, and tensor `attn_layers/,
    )
  })

  it('is named as such if it contains no model', async () => {
    await expectError(
      load(await recorded('model.pt')),
      'invalid_checkpoint',
      /does not say which model.*loadWeights/,
    )
    expect(() => loadSync(new Uint8Array(20))).toThrow(/no whole safetensors file/)
    for (const text of ['{"a": 1, "b": 2}', '{"weight_map": []   }', '{"weight_map": {']) {
      await expectError(loadTensors(new Blob([text])), 'invalid_checkpoint', /JSON/)
    }
    for (const file of ['../x.safetensors', 'a/b', '..', 'c:x', '']) {
      const index = new Blob([JSON.stringify({ weight_map: { x: file } })])
      await expectError(loadTensors(index), 'invalid_checkpoint', /cannot be beside it/)
    }
  })

  it('is an error or loads after damage anywhere', async () => {
    for (const name of ['small.pt', 'views.safetensors']) {
      const bytes = await recorded(name)
      const whole = [...loadTensorsSync(bytes).tensors].map(([key, value]) => [key, numbers(value)])
      for (let at = 0; at < bytes.length; at += 3) {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] as number) ^ 0xff
        try {
          const { tensors } = loadTensorsSync(damaged)
          const read = [...tensors].map(([key, value]) => [key, numbers(value)])
          for (const value of tensors.values()) value.dispose()
          // a zip file has checksums, a safetensors file has none
          if (name === 'small.pt') expect(read, `byte ${at}`).toEqual(whole)
        } catch (error) {
          expect(error).toMatchObject({
            name: 'XTransformersError',
            code: expect.stringMatching(/^(invalid_checkpoint|out_of_memory)$/),
          })
        }
      }
    }
    // the native side still works
    expect(ones([2]).sum().item()).toBe(2)
  })
})

describe('loadWeights', () => {
  const bytesOf = async (model: { saveBytes(): Promise<Uint8Array> }) =>
    (await model.saveBytes()).slice()

  it('reports what does not match when it is not strict, and loads the rest', async () => {
    const model = smallModel()
    const before = numbers(model.stateDict().get('net.norm.weight') as Tensor)
    const file = new FakeFile()
    const state = new Map<string, Tensor>([
      ['net.norm.bias', ones([16])],
      ['net.norm.weight', ones([3])],
      ['net.other', zeros([1])],
    ])
    await saveTensors(state, file)
    const result = await model.loadWeights(file, { strict: false })
    expect(result.missing).toContain('net.to_logits.weight')
    expect(result.missing).not.toContain('net.norm.weight')
    expect(result.unexpected).toEqual(['net.other'])
    expect(result.mismatched).toEqual([{ name: 'net.norm.weight', expected: [16], got: [3] }])
    expect(numbers(model.stateDict().get('net.norm.bias') as Tensor)).toEqual(Array(16).fill(1))
    expect(numbers(model.stateDict().get('net.norm.weight') as Tensor)).toEqual(before)
    expect(model.loadStateDict(state, { strict: false })).toEqual(result)
    await expectError(
      model.loadWeights(file),
      'invalid_checkpoint',
      /norm.weight has shape \[3\], the model needs \[16\][\s\S]*net.to_logits.weight is missing[\s\S]*net.other is not in this model/,
    )
  })

  it('removes a prefix from every name, and reports it', async () => {
    const model = smallModel()
    const state = (prefix: string) =>
      new Map([...smallModel().stateDict()].map(([name, value]) => [prefix + name, value]))
    for (const prefix of ['module.', '_orig_mod.', 'module._orig_mod.']) {
      expect(model.loadStateDict(state(prefix))).toEqual({ ...CLEAN, prefix })
    }
    expect(() => model.loadStateDict(state('model.'))).toThrow(
      /model.net.norm.weight is not in this model/,
    )
    expect(model.loadStateDict(state('model.'), { prefix: 'model.' })).toEqual({
      ...CLEAN,
      prefix: 'model.',
    })
    const mixed = state('module.').set('step', ones([1]))
    expect(() => model.loadStateDict(mixed)).toThrow(/step is not in this model/)
    const forced = model.loadStateDict(mixed, { prefix: 'module.', strict: false })
    expect(forced).toEqual({ ...CLEAN, unexpected: ['step'], prefix: 'module.' })
    expect(model.loadStateDict(new Map(), { strict: false }).prefix).toBe(null)
    expect(() => model.loadStateDict(state(''), { prefix: 'module.' })).toThrow(/is missing/)
  })

  it('runs in the order of calls', async () => {
    const [model, other] = [smallModel(), smallModel()]
    const x = ids(2, 9)
    const bytes = await bytesOf(other)
    const before = model.forward(x)
    const loading = model.loadWeights(inPieces(bytes, 500))
    const after = model.forward(x)
    expect(() => model.loadWeightsSync(bytes)).toThrowError(
      expect.objectContaining({ code: 'busy' }),
    )
    const [old, loss] = [(await before).item(), (await after).item()]
    expect(await loading).toEqual(CLEAN)
    expect(loss).toBe((await other.forward(x)).item())
    expect(loss).not.toBe(old)
  })

  it('changes nothing and leaks nothing if it fails or is aborted', async () => {
    const model = smallModel()
    const before = model.parameters().map(numbers)
    const bytes = await bytesOf(smallModel())
    const used = bytesInUse()
    const controller = new AbortController()
    const { stream, cancelled } = endless(bytes.slice(0, 3000))
    const pending = model.loadWeights(stream, {
      signal: controller.signal,
      on_progress: () => void setTimeout(() => controller.abort('enough')),
    })
    await expect(pending).rejects.toBe('enough')
    expect(cancelled).toEqual(['enough'])
    await expect(model.loadWeights(bytes, { signal: controller.signal })).rejects.toBe('enough')
    const late = new AbortController()
    const on_progress = () => late.abort('late')
    await expect(
      model.loadWeights(new Blob([bytes]), { signal: late.signal, on_progress }),
    ).rejects.toBe('late')
    await expectError(model.loadWeights(bytes.slice(0, 3000)), 'invalid_checkpoint', /no whole/)
    await expectError(model.loadWeights(5 as never), 'invalid_argument', /a source is/)
    expect(model.parameters().map(numbers)).toEqual(before)
    expect(bytesInUse() - used).toBeLessThan(bytes.length)
  })

  it('that fails before it starts rejects in order, without an unhandled rejection', async () => {
    const [model, other] = [smallModel(), smallModel()]
    const bytes = await bytesOf(other)
    let finish = () => {}
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        finish = () => {
          controller.enqueue(bytes)
          controller.close()
        }
      },
    })
    const rejections = watchRejections()
    // the first one ends when the test resolves it
    const calls = [model.forward(ids(2, 9)), model.loadWeights(stream)]
    const failing = ['missing.pt', bytes.slice(0, 3000)].map((source) =>
      expect(model.loadWeights(source)).rejects.toBeInstanceOf(XTransformersError),
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
    finish()
    await Promise.all([...calls, ...failing])
    await new Promise((resolve) => setTimeout(resolve))
    rejections.stop()
    expect(rejections.seen).toEqual([])
    expect(model.parameters().map(numbers)).toEqual(other.parameters().map(numbers))
  })

  it('keeps the parameters that an optimizer holds', async () => {
    const model = smallModel()
    const [first] = model.parameters()
    const optimizer = new AdamW(model.parameters(), { lr: 0.1 })
    await model.loadWeights(await bytesOf(smallModel()))
    expect(model.parameters()[0]).toBe(first)
    const before = numbers(first as Tensor)
    await (await model.forward(ids(2, 9))).backward()
    await optimizer.step()
    expect(numbers(first as Tensor)).not.toEqual(before)
  })

  it('loads into custom modules', async () => {
    class Head extends Module {
      net = smallModel().net
      weight = randn([16, 2], { requires_grad: true })
      scale = tensor([1.5], { dtype: 'f64', requires_grad: true })

      async forward(x: Tensor): Promise<Tensor> {
        return (await this.net.forward(x, { return_embeddings: true })).matmul(this.weight)
      }
    }
    const [a, b] = [new Head(), new Head()]
    const bytes = (await a.saveBytes()).slice()
    expect(await b.loadWeights(new Blob([bytes]))).toEqual(CLEAN)
    expect(numbers(await b.forward(ids(1, 4)))).toEqual(numbers(await a.forward(ids(1, 4))))
    const half = new Map([['weight', ones([16, 2], { dtype: 'bf16' })]])
    const file = new FakeFile()
    await saveTensors(half, file)
    await b.loadWeights(file, { strict: false })
    expect([b.weight.dtype, b.scale.dtype, b.weight.sum().item()]).toEqual(['f32', 'f64', 32])
  })
})
