import { beforeAll, describe, expect, it } from 'vitest'
import {
  AdamW,
  type AutoregressiveWrapper,
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  saveTensors,
  saveTensorsSync,
  type Tensor,
  tensor,
} from 'x-transformers'
import {
  endless,
  expectError,
  expectProgress,
  FakeFile,
  inPieces,
  joined,
  type ProgressReport,
} from './bytes.js'
import { ids, numbers, smallModel } from './helpers.js'

const values = (model: { parameters(): Tensor[] }) => model.parameters().map(numbers)

let model: AutoregressiveWrapper
let bytes: Uint8Array<ArrayBuffer>
beforeAll(async () => {
  model = smallModel()
  bytes = (await model.saveBytes()).slice()
})

const blob = () => new Blob([bytes])
const base64 = () => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))

describe('loading', () => {
  const sources: [string, () => Parameters<typeof load>[0]][] = [
    ['a Uint8Array', () => bytes],
    ['a Uint8Array within a larger buffer', () => joined([new Uint8Array(3), bytes]).subarray(3)],
    ['an ArrayBuffer', () => bytes.buffer],
    ['a Blob', () => blob()],
    ['a File', () => new File([bytes], 'model.safetensors')],
    ['a Response', () => new Response(bytes)],
    ['a Response of a stream', () => new Response(inPieces(bytes, 1000))],
    ['a stream', () => inPieces(bytes, 777)],
    ['a stream of one piece', () => inPieces(bytes, bytes.length)],
    ['a handle of a file', () => new FakeFile(bytes)],
    ['a blob: URL', () => new URL(URL.createObjectURL(blob()))],
    ['a data: URL', () => new URL(`data:application/octet-stream;base64,${base64()}`)],
  ]

  it.each(sources)('accepts %s, and reports the progress', async (_, source) => {
    const reports: ProgressReport[] = []
    const loaded = await load<AutoregressiveWrapper>(source(), {
      on_progress: (progress) => reports.push(progress),
    })
    expect(values(loaded)).toEqual(values(model))
    expect((await loaded.forward(ids(2, 9))).item()).toBe((await model.forward(ids(2, 9))).item())
    expectProgress(reports, bytes.length)
  })

  it('accepts the same for tensors', async () => {
    const reports: ProgressReport[] = []
    const { tensors, metadata } = await loadTensors(blob(), {
      on_progress: (progress) => reports.push(progress),
    })
    expect([...tensors.keys()].sort()).toEqual([...model.stateDict().keys()].sort())
    expect(JSON.stringify(metadata)).toContain('AutoregressiveWrapper')
    expectProgress(reports, bytes.length)
  })

  it('reads only the visible part of a Uint8Array', async () => {
    const within = joined([new Uint8Array(5), bytes, new Uint8Array(9)]).subarray(
      5,
      5 + bytes.length,
    )
    expect(values(await load(within))).toEqual(values(model))
    expect(values(loadSync(within))).toEqual(values(model))
  })

  it('reads a long file in many chunks', async () => {
    const long = tensor(Float32Array.from({ length: 500_000 }, (_, i) => i))
    const file = new FakeFile()
    await saveTensors(new Map([['long', long]]), file)
    const { length } = file.content
    const pieces = () => inPieces(file.content, 100_000)
    const headers = { 'content-length': String(length) }
    for (const source of [
      pieces(),
      new Response(pieces(), { headers }),
      new Blob([file.content.slice()]),
    ]) {
      const reports: ProgressReport[] = []
      const { tensors } = await loadTensors(source, {
        on_progress: (progress) => reports.push(progress),
      })
      expect(
        tensors
          .get('long')
          ?.dataSync()
          .every((value, i) => value === i),
      ).toBe(true)
      expectProgress(reports, length)
    }
  })
})

describe('progress', () => {
  const run = async (source: Parameters<typeof load>[0]) => {
    const reports: ProgressReport[] = []
    await load(source, { on_progress: (progress) => reports.push(progress) })
    expectProgress(reports, bytes.length)
    return reports
  }
  const answer = (headers: Record<string, string>) =>
    new Response(inPieces(bytes, 1000), { headers })

  it('has a total from the start if the source knows its size', async () => {
    const reports = await run(answer({ 'content-length': String(bytes.length) }))
    expect(reports.length).toBe(Math.ceil(bytes.length / 1000))
    expect(reports[0]).toEqual({ loaded: 1000, total: bytes.length })
  })

  it('has no total before the end if it does not', async () => {
    for (const source of [
      inPieces(bytes, 1000),
      answer({}),
      answer({ 'content-length': 'many' }),
    ]) {
      expect((await run(source))[0]).toEqual({ loaded: 1000, total: null })
    }
  })

  it('does not report the size of compressed bytes as the total', async () => {
    const reports = await run(answer({ 'content-length': '1500', 'content-encoding': 'gzip' }))
    expect(reports[0]).toEqual({ loaded: 1000, total: null })
    expect(
      (await run(answer({ 'content-length': '1500', 'content-encoding': 'identity' })))[0]?.total,
    ).toBe(1500)
  })

  it('drops its total once more bytes have arrived', async () => {
    const reports = await run(answer({ 'content-length': '1500' }))
    expect(reports.slice(0, 2)).toEqual([
      { loaded: 1000, total: 1500 },
      { loaded: 2000, total: null },
    ])
  })

  it('rejects with the exception of its listener', async () => {
    const oops = new Error('oops')
    const { stream, cancelled } = endless(bytes)
    const on_progress = () => {
      throw oops
    }
    await expect(load(stream, { on_progress })).rejects.toBe(oops)
    expect(cancelled).toEqual([oops])
    await expect(load(bytes, { on_progress })).rejects.toBe(oops)
    await expectError(
      load(bytes, { on_progress: 5 as never }),
      'invalid_argument',
      /on_progress must be a function/,
    )
  })
})

describe('an abort', () => {
  it('ends a pending read, and cancels the stream', async () => {
    for (const make of [
      (s: ReadableStream<Uint8Array>) => s,
      (s: ReadableStream<Uint8Array>) => new Response(s),
    ]) {
      const controller = new AbortController()
      const { stream, cancelled } = endless(bytes.slice(0, 1000))
      const options = {
        signal: controller.signal,
        on_progress: () => void setTimeout(() => controller.abort('enough')),
      }
      await expect(load(make(stream), options)).rejects.toBe('enough')
      expect(cancelled).toEqual(['enough'])
    }
  })

  it('by the progress listener ends it too', async () => {
    const controller = new AbortController()
    const reports: ProgressReport[] = []
    const on_progress = (progress: ProgressReport) => {
      reports.push(progress)
      if (progress.loaded >= 3000) controller.abort()
    }
    const pending = load(inPieces(bytes, 1000), { signal: controller.signal, on_progress })
    await expect(pending).rejects.toMatchObject({ name: 'AbortError' })
    expect(reports.at(-1)?.loaded).toBe(3000)
  })

  it('before the start rejects at once', async () => {
    const signal = AbortSignal.abort('not at all')
    const { stream, cancelled } = endless(bytes)
    const sources = [
      bytes,
      blob(),
      stream,
      new Response(bytes),
      new FakeFile(bytes),
      new URL('data:,x'),
    ]
    for (const source of [...sources, 'nothing.safetensors']) {
      await expect(load(source, { signal })).rejects.toBe('not at all')
    }
    for (const source of [bytes, blob()])
      await expect(loadTensors(source, { signal })).rejects.toBe('not at all')
    expect(cancelled).toEqual(['not at all'])
    await expectError(
      load(bytes, { signal: 5 as never }),
      'invalid_argument',
      /signal must be an AbortSignal/,
    )
  })
})

describe('a source that cannot be loaded', () => {
  it('is reported if it is truncated', async () => {
    const short = inPieces(bytes.slice(0, 2500), 1000)
    const cut = new Response(short, { headers: { 'content-length': String(bytes.length) } })
    await expectError(
      load(cut),
      'file',
      new RegExp(`the Response ended after 2500 of ${bytes.length} bytes`),
    )
    await expectError(
      load(inPieces(bytes.slice(0, 2500), 1000)),
      'invalid_checkpoint',
      /no whole safetensors file/,
    )
  })

  it('is reported with the position where a stream failed', async () => {
    const chunks = [bytes.slice(0, 1000)]
    const cause = new Error('the cable')
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = chunks.shift()
        if (chunk) controller.enqueue(chunk)
        else controller.error(cause)
      },
    })
    await expectError(load(broken), 'file', /the stream broke off after 1000 bytes: the cable/)
  })

  it('is reported with the response of the server', async () => {
    const missing = new Response('<html>no such thing</html>', {
      status: 404,
      statusText: 'Not Found',
    })
    await expectError(load(missing), 'file', /status 404 \(Not Found\)/)
    await expectError(load(new Response(null, { status: 503 })), 'file', /status 503/)
    await expectError(load(Response.error()), 'file', /status 0/)
    await expectError(
      load(new URL('http://127.0.0.1:9/model')),
      'file',
      /^http:\/\/127.0.0.1:9\/model cannot be fetched/,
    )
    await expectError(
      load(new URL('http://me:secret@127.0.0.1:9/x')),
      'file',
      /^http:\/\/127.0.0.1:9\/x cannot/,
    )
  })

  it('is reported if it has another format', async () => {
    const text = (content: string) => new Blob([content])
    const page = text('\n<!DOCTYPE html><html><body>Start</body></html>')
    await expectError(load(page), 'invalid_checkpoint', /looks like HTML.*check the address/)
    await expectError(loadTensors(new Response(page)), 'invalid_checkpoint', /looks like HTML/)
    const pointer = text('version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n')
    await expectError(load(pointer), 'invalid_checkpoint', /Git LFS/)
    await expectError(
      load(text('PK\x03\x04 and so on')),
      'invalid_checkpoint',
      /zip file \(as torch.save writes\) is cut short/,
    )
    await expectError(load(new Blob([])), 'invalid_checkpoint', /it is empty/)
    await expectError(load(new Response(null)), 'invalid_checkpoint', /it is empty/)
    const zipped = blob().stream().pipeThrough(new CompressionStream('gzip'))
    await expectError(load(zipped), 'invalid_checkpoint', /compressed \(gzip\)/)
    const damaged = bytes.slice(0, bytes.length - 9)
    await expectError(load(damaged), 'invalid_checkpoint', /^[^;]*$/)
    expect(() => loadSync(new TextEncoder().encode('<html></html>'))).toThrow(/looks like HTML/)
    expect(() => loadTensorsSync(new TextEncoder().encode('<html></html>'))).toThrow(
      /looks like HTML/,
    )
  })

  it('is reported if it was used already', async () => {
    const stream = inPieces(bytes, 1000)
    stream.getReader()
    await expectError(load(stream), 'file', /read by someone else/)
    const response = new Response(bytes)
    await response.arrayBuffer()
    await expectError(load(response), 'file', /was read already/)
  })

  it('is rejected if it is no source at all', async () => {
    for (const wrong of [5, null, undefined, {}, [], new Map(), Promise.resolve(bytes)]) {
      await expectError(load(wrong as never), 'invalid_argument', /a source is a URL, a Blob/)
    }
    const texts = new ReadableStream({ start: (controller) => controller.enqueue('text') })
    await expectError(load(texts), 'invalid_argument', /pieces of type Uint8Array, got "text"/)
    const missing = {
      name: 'gone',
      getFile: () => Promise.reject(new DOMException('it was removed', 'NotFoundError')),
    }
    await expectError(load(missing as never), 'file', /gone cannot be read: it was removed/)
  })

  it('is rejected at once if it is asynchronous and the call is not', () => {
    for (const source of [blob(), new Response(bytes), inPieces(bytes, 9), new FakeFile(bytes)]) {
      expect(() => loadSync(source as never)).toThrow(/await load\(\) instead/)
    }
    for (const path of ['nothing.safetensors', new URL('https://127.0.0.1/x'), 'opfs:x']) {
      expect(() => loadSync(path)).toThrowError(expect.objectContaining({ code: 'file' }))
      expect(() => loadTensorsSync(path)).toThrowError(expect.objectContaining({ code: 'file' }))
    }
  })
})

describe('saving', () => {
  it('gives a Blob', async () => {
    const saved = await model.saveBlob()
    expect(saved).toBeInstanceOf(Blob)
    expect(saved.type).toBe('application/octet-stream')
    expect(saved.size).toBe(bytes.length)
    expect(values(await load(saved))).toEqual(values(model))
  })

  it('writes to a file handle', async () => {
    const file = new FakeFile(new Uint8Array([1, 2, 3]))
    await model.save(file)
    expect(file.content.length).toBe(bytes.length)
    expect(values(await load(file))).toEqual(values(model))
    await saveTensors(model.stateDict(), file, { note: 'x' })
    expect((await loadTensors(file)).metadata).toMatchObject({ note: 'x', format: 'pt' })
  })

  it('writes to a stream, and closes it', async () => {
    const { readable, writable } = new CompressionStream('gzip')
    const [zipped] = await Promise.all([new Response(readable).blob(), model.save(writable)])
    expect(
      values(await load(zipped.stream().pipeThrough(new DecompressionStream('gzip')))),
    ).toEqual(values(model))
  })

  it('writes chunks whose memory the stream may transfer', async () => {
    const many = tensor(Float32Array.from({ length: 2_500_000 }, (_, i) => i))
    const chunks: Uint8Array[] = []
    const write = (chunk: Uint8Array) => {
      chunks.push(structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] }))
    }
    await saveTensors(new Map([['many', many]]), new WritableStream({ write }))
    expect(chunks.length).toBeGreaterThan(2)
    const { tensors } = await loadTensors(joined(chunks))
    expect(
      tensors
        .get('many')
        ?.dataSync()
        .every((value, i) => value === i),
    ).toBe(true)
  })

  it('opens the file when it is called: browsers allow it only soon after a click', async () => {
    const file = new FakeFile()
    const pending = model.save(file)
    expect(file.opened).toBe(1)
    await pending
  })

  it('keeps the old content if it fails', async () => {
    const file = new FakeFile(new Uint8Array([1, 2, 3]))
    file.failure = new DOMException('it is full', 'QuotaExceededError')
    const needed = new RegExp(`no room for fake.safetensors: it needs ${bytes.length} bytes`)
    await expectError(model.save(file), 'file', needed)
    file.failure = new Error('the disk is gone')
    await expectError(
      model.save(file),
      'file',
      /fake.safetensors cannot be written: the disk is gone/,
    )
    expect(file.content).toEqual(new Uint8Array([1, 2, 3]))

    const gone = smallModel()
    gone.dispose()
    await expectError(gone.save(file), 'disposed', /disposed/)
    expect(file.aborted.length).toBe(1)
    expect(file.content).toEqual(new Uint8Array([1, 2, 3]))
  })

  it('is rejected if the target is invalid', async () => {
    for (const wrong of [5, null, undefined, {}, new Uint8Array(3), blob()]) {
      await expectError(model.save(wrong as never), 'invalid_argument', /a target is a path/)
      await expectError(
        saveTensors(new Map(), wrong as never),
        'invalid_argument',
        /a target is a path/,
      )
    }
    const stream = new WritableStream()
    stream.getWriter()
    await expectError(model.save(stream), 'file', /written by someone else/)
    const old = { name: 'old', getFile: async () => blob() }
    await expectError(model.save(old as never), 'file', /use saveBlob\(\)/)
    const denied = {
      ...old,
      createWritable: () => Promise.reject(new DOMException('no', 'NotAllowedError')),
    }
    await expectError(model.save(denied), 'file', /old cannot be written: no/)
    expect(() => model.saveSync(new FakeFile() as never)).toThrow(/await save\(\) instead/)
    expect(() => saveTensorsSync(new Map(), new FakeFile() as never)).toThrow(
      /await save\(\) instead/,
    )
  })
})

describe('an optimizer', () => {
  const trained = async () => {
    const own = smallModel()
    const optimizer = new AdamW(own.parameters(), { lr: 0.01 })
    const loss = await own.forward(ids(2, 9))
    await loss.backward()
    await optimizer.step()
    return { own, optimizer }
  }
  const fresh = () => new AdamW(smallModel().parameters(), { lr: 1 })
  const state = ({ state, param_groups }: ReturnType<AdamW['stateDict']>) => ({
    tensors: [...state].map(([name, value]) => [name, numbers(value)]),
    param_groups,
  })

  it('is saved and loaded like a model', async () => {
    const { optimizer } = await trained()
    const file = new FakeFile()
    await optimizer.save(file)
    const saved = await optimizer.saveBlob()
    expect(saved.type).toBe('application/octet-stream')
    for (const source of [file, saved, new Response(saved), saved.stream()]) {
      const other = fresh()
      const reports: ProgressReport[] = []
      await other.load(source, { on_progress: (progress) => reports.push(progress) })
      expect(state(other.stateDict())).toEqual(state(optimizer.stateDict()))
      expectProgress(reports, saved.size)
    }
  })

  it('is unchanged if loading ends early', async () => {
    const { optimizer } = await trained()
    const before = state(optimizer.stateDict())
    const controller = new AbortController()
    const { stream, cancelled } = endless(await optimizer.saveBytes())
    const loading = optimizer.load(stream, {
      signal: controller.signal,
      on_progress: () => controller.abort('enough'),
    })
    await expect(loading).rejects.toBe('enough')
    expect(cancelled).toEqual(['enough'])
    await expect(optimizer.load(blob(), { signal: AbortSignal.abort('no') })).rejects.toBe('no')
    await expectError(optimizer.load(blob()), 'invalid_checkpoint', /no optimizer state/)
    await expectError(
      optimizer.load(blob(), { signal: 5 as never }),
      'invalid_argument',
      /AbortSignal/,
    )
    expect(state(optimizer.stateDict())).toEqual(before)
  })
})
