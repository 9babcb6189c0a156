import { describe, expect, it, vi } from 'vitest'
import * as main from 'x-transformers'
import {
  type HostTensor,
  type Library,
  type RemoteModel,
  tensor,
  XTransformersError,
} from 'x-transformers/worker'
import type { Port, ToWorker } from '../../ts/worker/protocol.js'
import { connect } from '../../ts/worker/spawn.js'
import { collect } from '../api/helpers.js'
import { ids, LAYERS, library, NET, numbers, smallModel, smallNet } from './helpers.js'

const bytes = async (x: Library) => {
  await collect()
  return (await x.memory()).native_bytes
}

describe('the library in a worker', () => {
  it('reports its backend', async () => {
    const x = await library()
    expect(await x.info()).toEqual(main.info())
  })

  it('applies seeds in call order', async () => {
    const x = await library()
    const draw = (seed: number) => {
      x.manualSeed(seed)
      return smallNet(x).forward(ids(1, 4))
    }
    const [a, b, c] = await Promise.all([draw(1), draw(2), draw(1)])
    expect(numbers(a)).toEqual(numbers(c))
    expect(numbers(a)).not.toEqual(numbers(b))
    expect(() => x.manualSeed(-1)).toThrow(/whole number from 0/)
  })

  it('names every problem of the options of a model, in every call on it', async () => {
    const x = await library()
    const wrong = { dim: 16, depth: 1, head: 2, atn_dim_head: 8 } as never
    let want: unknown
    try {
      new main.Decoder(wrong)
    } catch (error) {
      want = error
    }
    const decoder = new x.Decoder(wrong)
    const error = await decoder.ready.catch((thrown) => thrown)
    expect(error).toBeInstanceOf(XTransformersError)
    expect(error).toMatchObject({ code: 'invalid_options', message: (want as Error).message })
    expect(error.problems).toEqual((want as XTransformersError).problems)
    await expect(decoder.forward(tensor([[1]]))).rejects.toMatchObject({ problems: error.problems })
    // a model that contains it has its problems too
    const net = new x.TransformerWrapper({ ...NET, attn_layers: decoder })
    await expect(net.forward(ids(1, 4))).rejects.toMatchObject({ problems: error.problems })
    await expect(net.ready).rejects.toMatchObject({ problems: error.problems })
  })

  it('rejects values that cannot be sent to a worker', async () => {
    const x = await library()
    const other = await library()
    const net = smallNet(x)
    await expect(net.forward(ids(1, 4), { mask: () => 1 } as never)).rejects.toThrow(
      /^mask is a function/,
    )
    await expect(net.forward(Promise.resolve(ids(1, 4)) as never)).rejects.toThrow(
      /a Promise \(await it first\)/,
    )
    await expect(net.forward(ids(1, 4), { mask: new Date() } as never)).rejects.toThrow(
      /mask is a Date/,
    )
    await expect(net.forward(ids(1, 4), { mask: { $tensor: 0 } } as never)).rejects.toThrow(
      /\$tensor is an unknown name/,
    )
    const loop: { mask?: unknown } = {}
    loop.mask = loop
    await expect(net.forward(ids(1, 4), loop as never)).rejects.toThrow(/contains itself/)
    await expect(net.forward(ids(1, 4), 5 as never)).rejects.toThrow(
      /the last argument is an object/,
    )
    await expect(net.forward(ids(1, 4), { signal: 5 } as never)).rejects.toThrow(/AbortSignal/)
    expect(() => new x.Decoder({ dim: () => 1, depth: 1 } as never)).toThrow(/dim is a function/)
    expect(() => new other.TransformerWrapper({ ...NET, attn_layers: net.attn_layers })).toThrow(
      /attn_layers is of another worker/,
    )
    expect(() => new other.AdamW(net)).toThrow(/of another worker/)
    const gone = main.ones([1, 4])
    gone.dispose()
    await expect(net.forward(gone)).rejects.toMatchObject({ code: 'disposed' })
  })

  it('passes on names and messages of errors of every kind', async () => {
    const x = await library()
    const forward = vi
      .spyOn(main.TransformerWrapper.prototype, 'forward')
      .mockImplementation((() => {
        throw new TypeError('mine')
      }) as never)
    const error = await smallNet(x)
      .forward(ids(1, 4))
      .catch((thrown) => thrown)
    forward.mockRestore()
    expect(error).toMatchObject({ name: 'TypeError', message: 'mine' })
  })

  it('drops a call that is aborted while it waits', async () => {
    const x = await library()
    const net = smallNet(x)
    const model = new x.AutoregressiveWrapper(net)
    const optimizer = new x.SGD(model)
    await optimizer.ready
    const forward = vi.spyOn(main.TransformerWrapper.prototype, 'forward')
    const controller = new AbortController()
    const long = x.trainStep({
      model,
      optimizer,
      batches: Array.from({ length: 20 }, () => [ids(1, 9)] as [HostTensor]),
    })
    const [dropped, last] = [
      net.forward(ids(1, 4), { signal: controller.signal }),
      net.forward(ids(1, 4)),
    ]
    controller.abort('not now')
    await expect(dropped).rejects.toBe('not now')
    await Promise.all([long, last])
    expect(forward).toHaveBeenCalledTimes(1)
    forward.mockRestore()
  })
})

/** A model whose weights are large enough to measure. */
function largeModel(x: Library) {
  const attn_layers = new x.Decoder({ dim: 64, depth: 2 })
  return new x.AutoregressiveWrapper(
    new x.TransformerWrapper({ num_tokens: 256, max_seq_len: 64, attn_layers }),
  )
}

async function trained(x: Library) {
  const model = largeModel(x)
  const optimizer = new x.AdamW(model)
  await x.trainStep({ model, optimizer, batches: [[ids(2, 33)]] })
  return { model, optimizer }
}

/** Disposes in order of creation, the least favourable order. */
function free({ model, optimizer }: Awaited<ReturnType<typeof trained>>): void {
  optimizer.dispose()
  model.dispose()
  model.net.dispose()
  model.net.attn_layers.dispose()
}

/** Bytes in use, once every thread has allocated its own buffers. */
async function settled(x: Library): Promise<number> {
  for (let i = 0; i < 12; i++) free(await trained(x))
  return await bytes(x)
}

describe('memory in a worker', () => {
  it('is freed by dispose', async () => {
    const x = await library()
    const before = await settled(x)
    const { model, optimizer } = await trained(x)
    expect(await bytes(x)).toBeGreaterThan(before + 500_000)
    const pending = model.forward(ids(2, 33))
    free({ model, optimizer })
    expect((await pending).item()).toBeGreaterThan(0)
    expect(await bytes(x)).toBeLessThan(before + 8192)
    await expect(model.forward(ids(2, 33))).rejects.toMatchObject({ code: 'disposed' })
    await expect(model.saveBytes()).rejects.toMatchObject({ code: 'disposed' })
  })

  it('contains shared weights while a model uses them', async () => {
    const x = await library()
    const model = smallModel(x)
    const want = (await model.forward(ids(1, 9))).item()
    model.net.dispose()
    expect((await model.forward(ids(1, 9))).item()).toBe(want)
  })

  it.skipIf(!globalThis.gc)('is freed once the page has garbage collected the models', async () => {
    const x = await library()
    const before = await settled(x)
    await (async () => {
      const { model, optimizer } = await trained(x)
      expect(await bytes(x)).toBeGreaterThan(before + 500_000)
      expect([model, optimizer]).toHaveLength(2)
    })()
    await vi.waitFor(async () => expect(await bytes(x)).toBeLessThan(before + 8192), {
      timeout: 10_000,
    })
  })

  it.skipIf(!globalThis.gc)('contains a loaded model while a part of it is used', async () => {
    const x = await library()
    const saved = await smallModel(x).saveBytes()
    const layers = (await x.load<ReturnType<typeof smallModel>>(saved)).net.attn_layers
    for (let i = 0; i < 5; i++) await collect()
    expect(
      (await layers.forward(tensor(new Float32Array(32), { shape: [1, 2, 16] }))).shape,
    ).toEqual([1, 2, 16])
  })

  it('is freed with the models inside, if it was loaded', async () => {
    const x = await library()
    const loaded = await x.load<ReturnType<typeof smallModel>>(await smallModel(x).saveBytes())
    const { net } = loaded
    loaded.dispose()
    await expect(net.forward(ids(1, 4))).rejects.toMatchObject({ code: 'disposed' })
  })
})

describe('terminate', () => {
  it('rejects pending and later calls, and frees everything', async () => {
    const watcher = await library()
    const before = await settled(watcher)
    const x = await library()
    const { model, optimizer } = await trained(x)
    expect(await bytes(watcher)).toBeGreaterThan(before + 500_000)
    const step = { model, optimizer, batches: [[ids(2, 33)] as [HostTensor]] }
    const waiting = [
      x.trainStep(step),
      model.forward(ids(1, 9)),
      x.info(),
      x.load(new Uint8Array(8)),
      model.saveBlob(),
    ]
    const late = new x.Decoder(LAYERS)
    x.terminate()
    x.terminate()
    const terminated = { name: 'XTransformersError', code: 'terminated' }
    for (const call of waiting) await expect(call).rejects.toMatchObject(terminated)
    await expect(late.ready).rejects.toMatchObject(terminated)
    const after: Promise<unknown>[] = [
      model.forward(ids(1, 9)),
      x.trainStep(step),
      x.memory(),
      x.load('nothing'),
      model.describe(),
      optimizer.setOptions({ lr: 1 }),
      new x.Decoder(LAYERS).ready,
      new x.SGD(model).ready,
    ]
    for (const call of after) await expect(call).rejects.toMatchObject(terminated)
    // these do not wait for a response
    x.manualSeed(1)
    model.eval()
    model.dispose()
    optimizer.lr = 1
    optimizer.dispose()
    expect(await bytes(watcher)).toBeLessThan(before + 8192)
  })

  it('is called by `using`', async () => {
    let model: RemoteModel
    {
      using x = await library()
      model = smallModel(x)
      await model.ready
    }
    await expect(model.describe()).rejects.toMatchObject({ code: 'terminated' })
  })
})

/** A port without a server; sent messages can be inspected and answered. */
function fakePort() {
  const listeners = new Map<string, (event: unknown) => void>()
  const sent: ToWorker[] = []
  let ended = 0
  let held = 1
  const port: Port = {
    postMessage: (message) => void sent.push(message as ToWorker),
    addEventListener: (type, listener) => void listeners.set(type, listener),
    removeEventListener: (type) => void listeners.delete(type),
    terminate: () => ended++,
    ref: () => held++,
    unref: () => held--,
  }
  const tell = (type: string, event: unknown = {}) => listeners.get(type)?.(event)
  return { port, sent, tell, ended: () => ended, held: () => held }
}

describe('a worker that does not work', () => {
  it('rejects at the start if its script cannot be loaded', async () => {
    const worker = fakePort()
    const pending = connect(worker.port)
    worker.tell('error')
    await expect(pending).rejects.toMatchObject({
      code: 'worker',
      message: expect.stringMatching(
        /could not be started.*served from the origin.*x-transformers\/worker\/entry/,
      ),
    })
    expect(worker.ended()).toBe(1)
  })

  it('rejects at the start with the reason of the worker', async () => {
    const worker = fakePort()
    const pending = connect(worker.port)
    expect(worker.sent[0]).toMatchObject({ type: 'init' })
    const error = {
      name: 'XTransformersError',
      message: 'no such file',
      code: 'no_addon',
      problems: [],
    }
    worker.tell('message', { data: { type: 'failed', error } })
    await expect(pending).rejects.toMatchObject({ code: 'no_addon', message: 'no such file' })
    expect(worker.ended()).toBe(1)
  })

  it('reports the progress of the start, and can be aborted', async () => {
    const worker = fakePort()
    const controller = new AbortController()
    const seen: unknown[] = []
    const pending = connect(
      worker.port,
      {},
      { signal: controller.signal, on_progress: (step) => seen.push(step) },
    )
    worker.tell('message', {
      data: { type: 'progress', id: null, progress: { loaded: 1, total: 2 } },
    })
    controller.abort('later')
    await expect(pending).rejects.toBe('later')
    expect(seen).toEqual([{ loaded: 1, total: 2 }])
    expect(worker.ended()).toBe(1)
  })

  it('keeps a process alive only while a call is pending', async () => {
    const worker = fakePort()
    const pending = connect(worker.port)
    expect(worker.held()).toBe(1)
    worker.tell('message', { data: { type: 'ready', learning_rates: {} } })
    const x = await pending
    await vi.waitFor(() => expect(worker.held()).toBe(0))
    const [a, b] = [x.info(), x.memory()]
    expect(worker.held()).toBe(1)
    for (const sent of worker.sent.slice(-2)) {
      worker.tell('message', {
        data: { type: 'result', id: (sent as { id: number }).id, value: {} },
      })
    }
    await Promise.all([a, b])
    await vi.waitFor(() => expect(worker.held()).toBe(0))
    // a stream does so while a token is pending
    const stream = smallModel(x).stream(ids(1, 3), 5)
    x.terminate()
    await expect(stream.next()).rejects.toMatchObject({ code: 'terminated' })
    await vi.waitFor(() => expect(worker.held()).toBe(0))
  })

  it('rejects every call after a crash', async () => {
    const worker = fakePort()
    const pending = connect(worker.port)
    worker.tell('message', { data: { type: 'ready', learning_rates: {} } })
    const x = await pending
    const calls = [x.info(), new x.Decoder(LAYERS).ready]
    worker.tell('error', { message: 'Uncaught RangeError' })
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({
        code: 'worker',
        message: expect.stringMatching(/broken down.*RangeError/),
      })
    }
    await expect(x.memory()).rejects.toMatchObject({ code: 'worker' })
    expect(worker.ended()).toBe(1)
  })

  it('has crashed when WebAssembly traps', async () => {
    const x = await library()
    const net = smallNet(x)
    await net.ready
    const trap = Object.assign(new Error('unreachable'), { name: 'RuntimeError' })
    const stopped = new XTransformersError('internal', 'the WebAssembly module has stopped', [], {
      cause: trap,
    })
    const forward = vi
      .spyOn(main.TransformerWrapper.prototype, 'forward')
      .mockRejectedValue(stopped as never)
    const calls = [net.forward(ids(1, 4)), x.info()]
    for (const call of calls)
      await expect(call).rejects.toMatchObject({ code: 'internal', message: stopped.message })
    await expect(x.info()).rejects.toMatchObject({ message: stopped.message })
    forward.mockRestore()
  })
})
