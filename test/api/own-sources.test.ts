// Sources and targets implemented by the caller: similar to those of the web, more or less correct.
import { beforeAll, describe, expect, it } from 'vitest'
import { type AutoregressiveWrapper, load, loadTensors, type Tensor } from 'x-transformers'
import {
  expectError,
  expectProgress,
  FakeFile,
  inPieces,
  type ProgressReport,
  watchRejections,
} from './bytes.js'
import { numbers, smallModel } from './helpers.js'

const values = (model: { parameters(): Tensor[] }) => model.parameters().map(numbers)
const given = (source: unknown) => load<AutoregressiveWrapper>(source as Blob)

let model: AutoregressiveWrapper
let bytes: Uint8Array<ArrayBuffer>
beforeAll(async () => {
  model = smallModel()
  bytes = (await model.saveBytes()).slice()
})

/** As much of a Blob as jsdom has; a FileReader reads it. */
class Poor {
  readonly size: number
  constructor(readonly content: Uint8Array<ArrayBuffer>) {
    this.size = content.length
  }
  slice(from: number, to: number) {
    return new Poor(this.content.slice(from, to))
  }
}

describe('a Blob', () => {
  it('without arrayBuffer() is read by a FileReader, if there is one', async () => {
    const { FileReader: had } = globalThis
    class Reader {
      result: unknown = null
      error: unknown = null
      onload = () => {}
      onerror = () => {}
      readAsArrayBuffer(blob: Poor) {
        this.result = blob.content.buffer
        this.error = new Error('it was removed')
        setTimeout(() => (blob.content[0] === 255 ? this.onerror() : this.onload()))
      }
    }
    try {
      globalThis.FileReader = Reader as never
      const told: ProgressReport[] = []
      const source = new Poor(bytes) as never
      expect(
        values(await load(source, { on_progress: (progress) => told.push(progress) })),
      ).toEqual(values(model))
      expectProgress(told, bytes.length)
      await expectError(
        given(new Poor(new Uint8Array([255, 2]))),
        'file',
        /the Blob broke off.*it was removed/,
      )
      globalThis.FileReader = undefined as never
      await expectError(
        given(new Poor(bytes)),
        'file',
        /no arrayBuffer\(\), and there is no FileReader/,
      )
    } finally {
      globalThis.FileReader = had
    }
  })

  const blob = (size: unknown, buffer: unknown) => ({
    size,
    stream() {},
    slice: () => ({ arrayBuffer: () => buffer }),
  })

  it('of the caller has the size that it reports', async () => {
    const long = blob(10, new ArrayBuffer(1000))
    await expectError(
      given(long),
      'invalid_argument',
      /the Blob gives 1000 bytes for a slice of \d+/,
    )
    await expectError(
      given(blob(1000, new ArrayBuffer(3))),
      'file',
      /the Blob ended after 3 of 1000 bytes/,
    )
    for (const size of [Number.NaN, -1, 1.5]) {
      await expectError(
        given(blob(size, bytes.buffer)),
        'invalid_argument',
        /size of the Blob must be a number of/,
      )
    }
    await expectError(given(blob('9', bytes.buffer)), 'invalid_argument', /a source is a URL/)
    await expectError(
      given(blob(10, 10)),
      'invalid_argument',
      /what the Blob gives must be an ArrayBuffer, got 10/,
    )
  })

  it('may be the result of a file handle', async () => {
    for (const file of [null, undefined, 3, {}, new Uint8Array(3)]) {
      const handle = { name: 'a', getFile: async () => file }
      await expectError(
        given(handle),
        'invalid_argument',
        /what getFile\(\) of a gives must be a File/,
      )
    }
    expect(values(await given({ getFile: () => new Blob([bytes]) }))).toEqual(values(model))
    const throws = () => {
      throw new Error('no')
    }
    await expectError(given({ getFile: throws }), 'file', /the file cannot be read: no/)
  })
})

describe('a reader', () => {
  const stream = (reader: unknown) => ({ getReader: () => reader })
  const cancelled: unknown[] = []
  const cancel = (reason: unknown) => void cancelled.push(reason)

  it('of the caller may give everything at once', async () => {
    const steps = [{ done: false, value: bytes }, { done: true }]
    expect(values(await given(stream({ read: () => steps.shift(), cancel })))).toEqual(
      values(model),
    )
  })

  it('of an invalid kind is rejected', async () => {
    for (const reader of [3, null, undefined, {}, { read() {} }]) {
      const message = /what getReader\(\) of the stream gives must be a reader.*Readable.toWeb/
      await expectError(given(stream(reader)), 'invalid_argument', message)
    }
    for (const step of [undefined, null, 3]) {
      const pending = given(stream({ read: async () => step, cancel }))
      await expectError(
        pending,
        'invalid_argument',
        /a read of the stream gives must be \{ done, value \}/,
      )
      expect(cancelled.splice(0).length).toBe(1)
    }
  })

  it('that fails rejects with its own error', async () => {
    const throws = () => {
      throw new Error('no')
    }
    await expectError(given({ getReader: throws }), 'file', /the stream cannot be read: no/)
    await expectError(
      given(stream({ read: throws, cancel: throws })),
      'file',
      /broke off after 0 bytes: no/,
    )
  })
})

describe('an async iterable', () => {
  async function* pieces(size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
  }

  it('is read like a stream', async () => {
    const told: ProgressReport[] = []
    const loaded = await load(pieces(1000), { on_progress: (progress) => told.push(progress) })
    expect(values(loaded)).toEqual(values(model))
    expectProgress(told, bytes.length)
    expect((await loadTensors(pieces(77))).tensors.size).toBe(model.stateDict().size)
  })

  it('is closed when reading ends early, also in the middle of a read', async () => {
    const left: string[] = []
    const controller = new AbortController()
    const iterator = {
      next: () => {
        setTimeout(() => controller.abort('enough'))
        return new Promise(() => {})
      },
      return: () => void left.push('return'),
    }
    const source = {
      [Symbol.asyncIterator]: () => iterator,
      destroy: () => void left.push('destroy'),
    }
    await expect(load(source as never, { signal: controller.signal })).rejects.toBe('enough')
    expect(left).toEqual(['destroy', 'return'])
  })

  it('of anything else than bytes is rejected', async () => {
    async function* texts() {
      yield 'text'
    }
    await expectError(given(texts()), 'invalid_argument', /pieces of type Uint8Array, got "text"/)
    const none = { [Symbol.asyncIterator]: () => 3 }
    await expectError(
      given(none),
      'invalid_argument',
      /iterator of the stream must be an object with next\(\), got 3/,
    )
  })
})

describe('a Response', () => {
  const mock = (more: object) => given({ ok: true, clone() {}, ...more })

  it('may be a minimal mock', async () => {
    await expectError(mock({ body: null }), 'invalid_checkpoint', /it is empty/)
    await expectError(mock({}), 'invalid_checkpoint', /it is empty/)
    expect(values(await mock({ body: inPieces(bytes, 1000) }))).toEqual(values(model))
    expect(values(await mock({ arrayBuffer: async () => bytes.buffer }))).toEqual(values(model))
    await expectError(
      mock({ arrayBuffer: async () => 3 }),
      'file',
      /arrayBuffer\(\) of the Response gives 3/,
    )
    await expectError(
      mock({ ok: false }),
      'file',
      /the Response cannot be loaded: .*status undefined/,
    )
    await expectError(mock({ ok: false, status: 404, body: {} }), 'file', /status 404/)
  })

  it('may have a body of another library', async () => {
    async function* body() {
      yield bytes.slice(0, 500)
      yield bytes.slice(500)
    }
    const headers = new Headers({ 'content-length': String(bytes.length) })
    expect(values(await mock({ body: body(), headers, url: 'https://example.org/x' }))).toEqual(
      values(model),
    )
    const message =
      /the Response must be a ReadableStream or an async iterable.*Readable.toWeb\(stream\)/
    await expectError(mock({ body: { pipe() {} } }), 'invalid_argument', message)
  })
})

describe('a target', () => {
  it('of the caller may be a stream with a writer', async () => {
    const none = model.save({ getWriter: () => 3 } as never)
    await expectError(
      none,
      'invalid_argument',
      /what getWriter\(\) of the stream gives must be a writer/,
    )
    const throws = () => {
      throw new Error('no')
    }
    await expectError(
      model.save({ getWriter: throws } as never),
      'file',
      /the stream cannot be written: no/,
    )
    const written: Uint8Array[] = []
    const writer = { write: (piece: Uint8Array) => written.push(piece), close() {}, abort() {} }
    await model.save({ getWriter: () => writer } as never)
    expect(written).toEqual([bytes])
  })

  it('that is closed is named in the error', async () => {
    const stream = new WritableStream()
    await stream.close()
    await expectError(model.save(stream), 'file', /^the stream is closed: give a new one$/)
  })

  it('with a handle opens a stream', async () => {
    const handle = (createWritable: () => unknown) =>
      ({ name: 'a', getFile() {}, createWritable }) as never
    const none = model.save(handle(async () => 3))
    await expectError(
      none,
      'invalid_argument',
      /createWritable\(\) of a gives must be a WritableStream, got 3/,
    )
    const throws = () => {
      throw new Error('no')
    }
    await expectError(model.save(handle(throws)), 'file', /a cannot be written: no/)
  })

  it('that fails together with the weights is one error, without an unhandled rejection', async () => {
    const gone = smallModel()
    gone.dispose()
    const file = new FakeFile()
    file.createWritable = () => Promise.reject(new Error('not allowed'))
    const { seen, stop } = watchRejections()
    await expectError(gone.save(file), 'disposed', /disposed/)
    await expectError(model.save(file), 'file', /not allowed/)
    await new Promise((resolve) => setTimeout(resolve, 10))
    stop()
    expect(seen).toEqual([])
  })
})
