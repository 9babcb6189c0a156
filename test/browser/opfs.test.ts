// Features of browsers only: the origin private file system, and strings as URLs.
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  AdamW,
  load,
  loadSync,
  loadTensors,
  saveTensors,
  type Tensor,
  tensor,
} from 'x-transformers'
import { jsonlLogger, readMetrics } from 'x-transformers/train'
import { expectError, expectProgress, type ProgressReport } from '../api/bytes.js'
import { info, stepEvent, stepsOf } from '../api/events.js'
import { numbers, smallModel } from '../api/helpers.js'
import { expectRecorded, makeRecorded, recorded } from '../api/recorded.js'

const FOLDER = 'x-transformers-test'
const opfs = (name: string) => `opfs:${FOLDER}/${name}`

const model = smallModel()
const values = (of: { parameters(): Tensor[] }) => of.parameters().map(numbers)
let bytes: Uint8Array
beforeAll(async () => {
  bytes = await model.saveBytes()
})

/** The names in the folder of these tests. */
async function names(): Promise<string[]> {
  const root = await navigator.storage.getDirectory()
  const folder = await root.getDirectoryHandle(FOLDER, { create: true })
  const found: string[] = []
  for await (const name of folder.keys()) found.push(name)
  return found
}

afterEach(async () => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  const root = await navigator.storage.getDirectory()
  await root.removeEntry(FOLDER, { recursive: true }).catch(() => {})
})

describe('the origin private file system', () => {
  it('saves and loads a model', async () => {
    await model.save(opfs('deep/er/model.safetensors'))
    for (const source of [
      opfs('deep/er/model.safetensors'),
      new URL(opfs('deep/er/model.safetensors')),
    ]) {
      const told: ProgressReport[] = []
      expect(
        values(await load(source, { on_progress: (progress) => told.push(progress) })),
      ).toEqual(values(model))
      expectProgress(told, bytes.length)
      expect(told[0]?.total).toBe(bytes.length)
    }
  })

  it('saves and loads an optimizer, and tensors', async () => {
    const optimizer = new AdamW(model.parameters(), { lr: 0.5 })
    await optimizer.save(opfs('optimizer'))
    const other = new AdamW(model.parameters())
    await other.load(opfs('optimizer'))
    expect(other.lr).toBe(0.5)
    await saveTensors(new Map([['a', tensor([1, 2])]]), opfs('tensors'))
    expect((await loadTensors(opfs('tensors'))).tensors.get('a')?.toArray()).toEqual([1, 2])
  })

  it('replaces the content, also by a shorter one', async () => {
    await saveTensors(new Map([['a', tensor(new Float32Array(5000))]]), opfs('x'))
    await saveTensors(new Map([['b', tensor([3])]]), opfs('x'))
    expect([...(await loadTensors(opfs('x'))).tensors.keys()]).toEqual(['b'])
    expect(await names()).toEqual(['x'])
  })

  it('accepts names with any letters', async () => {
    const name = opfs('a model ü 100%.safetensors')
    await model.save(name)
    expect(await names()).toEqual(['a model ü 100%.safetensors'])
    expect(values(await load(name))).toEqual(values(model))
    await model.save(opfs('ü b'))
    expect(values(await load(new URL(opfs('ü b'))))).toEqual(values(model))
  })

  it('rejects invalid paths', async () => {
    for (const path of [
      'opfs:',
      'opfs:/x',
      'opfs:a//b',
      'opfs:a/',
      'opfs:../x',
      'opfs:a/./b',
      'opfs:a/..',
    ]) {
      await expectError(model.save(path), 'invalid_argument', /write opfs:folder\/name/)
      await expectError(load(path), 'invalid_argument', /write opfs:folder\/name/)
    }
  })

  it('reports missing files', async () => {
    await expectError(
      load(opfs('nothing')),
      'file',
      /there is no file opfs:.*\/nothing in the origin private/,
    )
    await expectError(load(opfs('no/folder/nothing')), 'file', /there is no file/)
    await model.save(opfs('folder/model'))
    await expectError(load(opfs('folder')), 'file', /a folder and a file have the same name/)
    await expectError(model.save(opfs('folder')), 'file', /a folder and a file have the same name/)
    await expectError(
      model.save(opfs('folder/model/x')),
      'file',
      /a folder and a file have the same name/,
    )
  })

  it('keeps the old content if saving fails, and reports the free space', async () => {
    await saveTensors(new Map([['old', tensor([1])]]), opfs('old'))
    const full = () => {
      throw new DOMException('full', 'QuotaExceededError')
    }
    const createWritable = vi.spyOn(FileSystemFileHandle.prototype, 'createWritable')
    createWritable.mockImplementation(
      async () => new WritableStream({ write: full }) as FileSystemWritableFileStream,
    )
    const room = new RegExp(
      `no room for .* it needs ${bytes.length} bytes; the browser tells of \\d+ free bytes`,
    )
    await expectError(model.save(opfs('old')), 'file', room)
    await expectError(model.save(opfs('new')), 'file', room)
    vi.spyOn(navigator.storage, 'estimate').mockResolvedValue({ quota: 1000, usage: 900 })
    await expectError(
      model.save(opfs('new')),
      'file',
      /bytes, and 100 are free \(900 of 1000 are in use\)/,
    )
    createWritable.mockRejectedValue(new DOMException('in use', 'NoModificationAllowedError'))
    await expectError(model.save(opfs('new')), 'file', /opfs:.*\/new cannot be written: in use/)
    const gone = smallModel()
    gone.dispose()
    await expectError(gone.save(opfs('new')), 'disposed', /disposed/)
    expect(await names()).toEqual(['old'])
    expect([...(await loadTensors(opfs('old'))).tensors.keys()]).toEqual(['old'])
  })

  it('gives up a copy that cannot be written whole, and leaves what was there', async () => {
    const logger = jsonlLogger(opfs('metrics.jsonl'))
    await logger.start?.(info(0))
    await logger.log(stepEvent(1))
    await logger.flush?.()
    const aborted: unknown[] = []
    const { createWritable } = FileSystemFileHandle.prototype
    vi.spyOn(FileSystemFileHandle.prototype, 'createWritable').mockImplementation(async function (
      this: FileSystemFileHandle,
      options,
    ) {
      const stream = await createWritable.call(this, options)
      const abort = stream.abort.bind(stream)
      stream.abort = async (reason) => {
        aborted.push((reason as Error).name)
        await abort(reason)
      }
      stream.write = async () => {
        throw new DOMException('full', 'QuotaExceededError')
      }
      return stream
    })
    await logger.log(stepEvent(2))
    await expectError(logger.flush?.() as Promise<void>, 'file', /cannot be written: full/)
    expect(aborted).toEqual(['QuotaExceededError'])
    vi.restoreAllMocks()
    expect(stepsOf(await readMetrics(opfs('metrics.jsonl')))).toEqual([1])
  })

  it('copies a large file of metrics less often than a small one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const createWritable = vi.spyOn(FileSystemFileHandle.prototype, 'createWritable')
    /** How often it is copied in ten seconds. */
    const copies = async (length: number) => {
      const logger = jsonlLogger(opfs(`${length}.jsonl`))
      await logger.start?.({ ...info(0), model: { class: 'Decoder', options: 'x'.repeat(length) } })
      createWritable.mockClear()
      for (let step = 1; step <= 100; step++) {
        await logger.log(stepEvent(step))
        await vi.advanceTimersByTimeAsync(100)
      }
      const { length: count } = createWritable.mock.calls
      await logger.close?.()
      expect(stepsOf(await readMetrics(opfs(`${length}.jsonl`)))).toHaveLength(100)
      return count
    }
    expect(await copies(10)).toBeGreaterThanOrEqual(9)
    expect(await copies(4 * 2 ** 20)).toBe(2)
  })

  it('is reported as missing where it is unavailable', async () => {
    vi.spyOn(navigator, 'storage', 'get').mockReturnValue(undefined as never)
    await expectError(model.save(opfs('x')), 'file', /https or localhost/)
    await expectError(load(opfs('x')), 'file', /https or localhost/)
  })
})

describe('in a browser', () => {
  it('a file handle can be loaded from and saved to', async () => {
    const root = await navigator.storage.getDirectory()
    const folder = await root.getDirectoryHandle(FOLDER, { create: true })
    const handle = await folder.getFileHandle('handle', { create: true })
    await model.save(handle)
    expect(values(await load(handle))).toEqual(values(model))
    await saveTensors(new Map([['a', tensor([4])]]), await handle.createWritable())
    expect((await loadTensors(handle)).tensors.get('a')?.toArray()).toEqual([4])
  })

  it('the index of a checkpoint finds the files beside it: at a URL, and in the origin private file system', async () => {
    const root = await navigator.storage.getDirectory()
    const folder = await root.getDirectoryHandle(FOLDER, { create: true })
    const index = 'sharded.safetensors.index.json'
    for (const name of [
      index,
      'sharded-00001-of-00002.safetensors',
      'sharded-00002-of-00002.safetensors',
    ]) {
      const stream = await (await folder.getFileHandle(name, { create: true })).createWritable()
      await stream.write(await recorded(name))
      await stream.close()
    }
    const address = `/test/checkpoints/${index}`
    for (const source of [
      address,
      new URL(address, location.href),
      opfs(index),
      new URL(opfs(index)),
    ]) {
      const python = await makeRecorded()
      await python.loadWeights(source)
      await expectRecorded(python)
    }
    await folder.removeEntry('sharded-00002-of-00002.safetensors')
    await expectError(
      loadTensors(opfs(index)),
      'file',
      /there is no file .*sharded-00002-of-00002.safetensors/,
    )
    await expectError(
      loadTensors(URL.createObjectURL(new Blob([await recorded(index)]))),
      'invalid_argument',
      /give all of them/,
    )
  })

  it('a string is a URL', async () => {
    expect(values(await load(URL.createObjectURL(await model.saveBlob())))).toEqual(values(model))
    await expectError(
      load('http://127.0.0.1:9/x'),
      'file',
      /127\.0\.0\.1:9\/x cannot be fetched: .*CORS/,
    )
    await expectError(load('file:///x'), 'file', /<input type="file">/)
    await expectError(load(new URL('file:///x')), 'file', /<input type="file">/)
  })

  it('saving to a path, and synchronous loading, are errors', async () => {
    await expectError(model.save('model.safetensors'), 'file', /"opfs:folder\/name".*saveBlob\(\)/)
    expect(() => model.saveSync('opfs:x')).toThrow(/await save\(\)/)
    expect(() => loadSync('opfs:x')).toThrow(/await load\(\)/)
    expect(values(loadSync(bytes))).toEqual(values(model))
  })
})
