// A real Worker in a browser.
import { afterEach, describe, expect, it } from 'vitest'
import { userEvent } from 'vitest/browser'
import * as main from 'x-transformers'
import {
  type AutoregressiveWrapper,
  type Library,
  type Progress,
  type SpawnOptions,
  spawn,
} from 'x-transformers/worker'
import {
  smallModel as mainModel,
  numbers as mainNumbers,
  ids as mainTokens,
} from '../api/helpers.js'
import { all, ids, numbers, smallModel } from '../worker/helpers.js'

const open: Library[] = []
afterEach(() => {
  for (const x of open.splice(0)) x.terminate()
})

async function started(options: SpawnOptions = { threads: 1 }): Promise<Library> {
  const x = await spawn(options)
  open.push(x)
  return x
}

const isolated = self.crossOriginIsolated
const THREADS = new URL('../../ts/wasm/pkg/x-transformers.threads.wasm', import.meta.url)

/**
 * Whether threads are available: their build is skipped if its compiler is missing, and replaced by
 * a stub.
 */
const threadsRun = async () =>
  isolated && (await (await fetch(THREADS)).arrayBuffer()).byteLength > 8

/** A model whose train step takes a large part of a second on one thread. */
function heavyModel(x: Library) {
  return new x.AutoregressiveWrapper(
    new x.TransformerWrapper({
      num_tokens: 256,
      max_seq_len: 256,
      attn_layers: new x.Decoder({ dim: 256, depth: 4, heads: 4 }),
    }),
  )
}

/** The tasks over 50 ms on this thread while `run` runs. */
async function longTasks(run: () => Promise<unknown>): Promise<number[]> {
  const found: number[] = []
  const note = (entries: PerformanceEntryList) =>
    found.push(...entries.map(({ duration }) => duration))
  const observer = new PerformanceObserver((list) => note(list.getEntries()))
  observer.observe({ type: 'longtask' })
  await run()
  // the last one is reported after its task
  await new Promise((resolve) => setTimeout(resolve, 200))
  note(observer.takeRecords())
  observer.disconnect()
  return found
}

function blockFor(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

describe('a page with a worker', () => {
  it('stays responsive while a model trains: no task over 50 ms', async () => {
    // checks that the observer sees long tasks
    expect(
      await longTasks(
        () => new Promise<void>((resolve) => setTimeout(() => resolve(blockFor(80)), 0)),
      ),
    ).not.toEqual([])

    const x = await started()
    const model = heavyModel(x)
    const optimizer = new x.AdamW(model, { lr: 3e-4 })
    const step = () =>
      x.trainStep({ model, optimizer, batches: [[ids(4, 257, 256)]], max_grad_norm: 0.5 })
    await step()
    const input = document.createElement('input')
    document.body.append(input)
    const text = 'the whale and the sea, typed while a model trains'
    const losses: number[] = []
    const durations: number[] = []
    const tasks = await longTasks(async () => {
      const end = performance.now() + 3500
      const training = (async () => {
        while (performance.now() < end) {
          const begin = performance.now()
          losses.push((await step()).loss)
          durations.push(performance.now() - begin)
        }
      })()
      await userEvent.type(input, text)
      await training
    })
    expect(input.value).toBe(text)
    input.remove()
    expect(losses.length).toBeGreaterThan(1)
    // on the main thread a single step would be such a task
    expect(Math.min(...durations)).toBeGreaterThan(60)
    expect(tasks).toEqual([])
  })

  it('gets the same numbers as the library on the page', async () => {
    const x = await started()
    main.manualSeed(9)
    const own = mainModel({ ff_dropout: 0.1 })
    const ownOptimizer = new main.AdamW(own.parameters(), { lr: 0.01 })
    x.manualSeed(9)
    const model = smallModel(x, { ff_dropout: 0.1 })
    const optimizer = new x.AdamW(model, { lr: 0.01 })
    for (let i = 0; i < 3; i++) {
      const loss = await own.forward(mainTokens(2, 9))
      await loss.backward()
      await ownOptimizer.step()
      ownOptimizer.zeroGrad()
      expect((await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })).loss).toBe(
        loss.item(),
      )
    }
    expect(numbers(await model.generate(ids(2, 3), 9))).toEqual(
      mainNumbers(await own.generate(mainTokens(2, 3), 9)),
    )
    expect((await x.info()).target).toBe('wasm')
    expect((await x.info()).threads).toBe(1)
  })

  it('uses several threads if the page is cross-origin isolated', async () => {
    const [one, several] = [await started(), await started({ threads: 2 })]
    const info = await several.info()
    expect([info.threads, info.build]).toEqual(
      (await threadsRun()) ? [2, 'threads'] : [1, expect.anything()],
    )
    const losses = await Promise.all(
      [one, several].map(async (x) => {
        x.manualSeed(1)
        const model = smallModel(x)
        return (await model.forward(ids(2, 9))).item() as number
      }),
    )
    expect(losses[1]).toBeCloseTo(losses[0] as number, 5)
  })

  it('uses files that the page serves, with threads and without', async () => {
    const [url, nowhere] = [THREADS, '/no/such/file.wasm']
    const several = await (await started({ threads: 2, wasm: { threads_url: url } })).info()
    expect(several.threads).toBe((await threadsRun()) ? 2 : 1)
    const one = await (await started({ threads: 2, wasm: { threads_url: nowhere } })).info()
    expect(one).toMatchObject({
      threads: 1,
      threads_reason: expect.stringContaining(isolated ? nowhere : 'isolated'),
    })
    // each of them is enough for its number of threads
    const wasm = { url: nowhere, threads_url: url }
    if (await threadsRun())
      expect((await (await started({ threads: 2, wasm })).info()).build).toBe('threads')
    await expect(spawn({ threads: 1, wasm })).rejects.toMatchObject({ code: 'no_addon' })
  })

  it('aborts a generation in the worker, not only on the page', async () => {
    const x = await started()
    const model = smallModel(x)
    await model.generate(ids(1, 3), 2)
    const controller = new AbortController()
    const pending = model.generate(ids(1, 3), 200_000, { signal: controller.signal })
    setTimeout(() => controller.abort('enough'), 100)
    await expect(pending).rejects.toBe('enough')
    const begin = performance.now()
    await x.info()
    expect(performance.now() - begin).toBeLessThan(1000)
  })

  it('streams, and stops when the loop is left', async () => {
    const x = await started()
    const model = smallModel(x)
    const want = numbers(await model.generate(ids(1, 3), 9, { temperature: 0 }))
    expect(await all(model.stream(ids(1, 3), 9, { temperature: 0 }))).toEqual(want)
    const seen: number[] = []
    for await (const token of model.stream(ids(1, 3), 100_000, { temperature: 0 }))
      if (seen.push(token) === 5) break
    expect(seen).toEqual(want.slice(0, 5))
    expect((await model.forward(ids(2, 9))).item()).toBeGreaterThan(0)
  })

  it('loads from a File and a URL with progress, and saves to the origin private file system', async () => {
    const x = await started()
    const model = smallModel(x)
    const want = (await model.forward(ids(2, 9))).item()
    const file = new File([await model.saveBlob()], 'model.safetensors')
    const seen: Progress[] = []
    const loaded = await x.load<AutoregressiveWrapper>(file, {
      on_progress: (progress) => seen.push(progress),
    })
    expect((await loaded.forward(ids(2, 9))).item()).toBe(want)
    expect(seen.at(-1)).toEqual({ loaded: file.size, total: file.size })

    const address = URL.createObjectURL(file)
    const fetched = await x.load<AutoregressiveWrapper>(new URL(address))
    expect((await fetched.forward(ids(2, 9))).item()).toBe(want)

    const name = 'opfs:worker-test/model.safetensors'
    await model.save(name)
    expect((await (await x.load<AutoregressiveWrapper>(name)).forward(ids(2, 9))).item()).toBe(want)
    await (await navigator.storage.getDirectory()).removeEntry('worker-test', { recursive: true })
    // a URL relative to the page, not to the worker's script
    await expect(x.load('/no/such/model.safetensors')).rejects.toMatchObject({
      message: expect.stringContaining(location.origin),
    })
  })

  it('still works after the worker is terminated, and can start another one', async () => {
    const x = await started()
    const model = heavyModel(x)
    const optimizer = new x.SGD(model)
    const pending = x.trainStep({ model, optimizer, batches: [[ids(4, 257, 256)]] })
    setTimeout(() => x.terminate(), 50)
    await expect(pending).rejects.toMatchObject({ code: 'terminated' })
    const other = await started()
    expect((await smallModel(other).forward(ids(2, 9))).item()).toBeGreaterThan(0)
  })

  it('reports out of memory, and continues', async () => {
    const x = await started()
    const giant = new x.Decoder({ dim: 65_536, depth: 8 })
    await expect(giant.stateDict()).rejects.toMatchObject({ code: 'out_of_memory' })
    expect((await smallModel(x).forward(ids(2, 9))).item()).toBeGreaterThan(0)
  })
})

describe('a worker that does not start', () => {
  it('reports a missing script', async () => {
    await expect(spawn({ worker: '/no/such/worker.js' })).rejects.toMatchObject({
      name: 'XTransformersError',
      code: 'worker',
      message: expect.stringContaining('could not be started'),
    })
  })

  it('reports missing WebAssembly', async () => {
    await expect(spawn({ threads: 1, wasm: { url: '/no/such/file.wasm' } })).rejects.toMatchObject({
      code: 'no_addon',
    })
    await expect(spawn({ threads: 1, wasm: { bytes: new Uint8Array(8) } })).rejects.toMatchObject({
      code: 'no_addon',
    })
  })

  it('can be aborted', async () => {
    const controller = new AbortController()
    const pending = spawn({ signal: controller.signal })
    controller.abort('never mind')
    await expect(pending).rejects.toBe('never mind')
    await expect(spawn({ signal: controller.signal })).rejects.toBe('never mind')
  })

  it('checks its options', async () => {
    await expect(spawn({ thread: 2 } as never)).rejects.toMatchObject({ code: 'invalid_options' })
    await expect(spawn({ threads: 0 })).rejects.toMatchObject({ code: 'invalid_options' })
  })

  it('may be created by the page, and given as a Worker or a URL', async () => {
    const own = new Worker(new URL('../../ts/worker/entry.ts', import.meta.url), { type: 'module' })
    const x = await started({ threads: 1, worker: own })
    expect((await x.info()).target).toBe('wasm')
  })
})
