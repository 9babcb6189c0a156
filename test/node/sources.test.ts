import fs, {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  openAsBlob,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  load,
  loadSync,
  loadTensors,
  loadTensorsSync,
  saveTensors,
  type Tensor,
  tensor,
} from 'x-transformers'
import { native } from '../../ts/native/native.node.js'
import { endless, expectError, expectProgress, type ProgressReport } from '../api/bytes.js'
import { numbers, smallModel } from '../api/helpers.js'

const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = (name: string) => join(folder, name)

const model = smallModel()
const values = (of: { parameters(): Tensor[] }) => of.parameters().map(numbers)
const bytes = model.saveBytesSync()
const half = bytes.length >> 1

const routes: Record<string, RequestListener> = {
  '/model': (_, answer) => answer.writeHead(200, { 'content-length': bytes.length }).end(bytes),
  '/chunked': (_, answer) => {
    answer.write(bytes.subarray(0, half))
    setTimeout(() => answer.end(bytes.subarray(half)), 5)
  },
  '/gzip': (_, answer) => {
    const zipped = gzipSync(bytes)
    answer
      .writeHead(200, { 'content-encoding': 'gzip', 'content-length': zipped.length })
      .end(zipped)
  },
  '/moved': (_, answer) => answer.writeHead(302, { location: '/model' }).end(),
  '/page': (_, answer) =>
    answer.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>App</title>'),
  '/forbidden': (_, answer) => answer.writeHead(403).end('<html>no</html>'),
  '/cut': (_, answer) => {
    answer.writeHead(200, { 'content-length': bytes.length })
    answer.write(bytes.subarray(0, half), () => setTimeout(() => answer.destroy(), 20))
  },
  '/slow': (_, answer) => {
    answer.writeHead(200, { 'content-length': bytes.length })
    answer.write(bytes.subarray(0, half))
  },
  '/silent': () => {},
}

describe('a URL', () => {
  let server: Server
  let base: string
  beforeAll(async () => {
    const missing: RequestListener = (_, answer) => answer.writeHead(404).end()
    server = createServer((request, answer) =>
      (routes[request.url ?? ''] ?? missing)(request, answer),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  const at = (route: string) => new URL(route, base)

  it.each(['/model', '/chunked', '/gzip', '/moved'])(
    '%s is fetched, with progress',
    async (route) => {
      const told: ProgressReport[] = []
      expect(
        values(await load(at(route), { on_progress: (progress) => told.push(progress) })),
      ).toEqual(values(model))
      expectProgress(told, bytes.length)
      const known = route === '/model' || route === '/moved'
      if (told.length > 1) expect(told[0]?.total).toBe(known ? bytes.length : null)
    },
  )

  it('may be fetched by the user', async () => {
    expect(values(await load(await fetch(at('/model'))))).toEqual(values(model))
    const { body } = await fetch(at('/model'))
    expect(values(await load(body as ReadableStream<Uint8Array>))).toEqual(values(model))
  })

  it('that fails is named, with the reason', async () => {
    await expectError(
      load(at('/forbidden')),
      'file',
      /127\.0\.0\.1:\d+\/forbidden cannot be loaded: .* status 403 \(Forbidden\)/,
    )
    await expectError(load(at('/nothing')), 'file', /\/nothing cannot be loaded: .* status 404/)
    await expectError(loadTensors(at('/page')), 'invalid_checkpoint', /looks like HTML/)
    await expectError(load(at('/cut')), 'file', /\/cut broke off after \d+ bytes/)
    await expectError(
      load(new URL('http://127.0.0.1:1/x')),
      'file',
      /^http:\/\/127\.0\.0\.1:1\/x cannot be fetched/,
    )
    const closed = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => closed.once('listening', resolve))
    const { port } = closed.address() as AddressInfo
    await new Promise((resolve) => closed.close(resolve))
    await expectError(load(new URL(`http://127.0.0.1:${port}/x`)), 'file', /ECONNREFUSED/)
    await expectError(
      load(new URL('ftp://127.0.0.1/x')),
      'file',
      /ftp:\/\/127.0.0.1\/x cannot be fetched/,
    )
  })

  it('stops on an abort: before the response, and in the middle of it', async () => {
    const early = new AbortController()
    setTimeout(() => early.abort('too long'), 20)
    await expect(load(at('/silent'), { signal: early.signal })).rejects.toBe('too long')
    const late = new AbortController()
    const options = { signal: late.signal, on_progress: () => late.abort('enough') }
    await expect(load(at('/slow'), options)).rejects.toBe('enough')
    await expect(load(at('/slow'), { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
  })

  it('may be fetched with a body that is a stream of Node', async () => {
    const response = await fetch(at('/model'))
    const { headers, url } = response
    const body = Readable.fromWeb(response.body as never)
    const answer = { ok: true, status: 200, url, headers, body, clone() {} }
    expect(values(await load(answer as never))).toEqual(values(model))
    const refused = { ...answer, ok: false, status: 404, body: new Readable({ read() {} }) }
    await expectError(load(refused as never), 'file', /status 404/)
    expect(refused.body.destroyed).toBe(true)
  })

  it('given as a string is a path, and the error says so', async () => {
    await expectError(load(`${base}/model`), 'file', /ENOENT.*new URL\(/)
    expect(() => loadSync(`${base}/model`)).toThrow(/ENOENT.*new URL\(/)
    expect(() => loadSync(at('/model'))).toThrow(/cannot be fetched at once: await load\(\)/)
  })
})

describe('a file', () => {
  it('is read by its path or its file: URL, with progress', async () => {
    writeFileSync(path('a model.safetensors'), bytes)
    for (const source of [
      path('a model.safetensors'),
      pathToFileURL(path('a model.safetensors')),
    ]) {
      const told: ProgressReport[] = []
      expect(
        values(await load(source, { on_progress: (progress) => told.push(progress) })),
      ).toEqual(values(model))
      expectProgress(told, bytes.length)
      expect(values(loadSync(source))).toEqual(values(model))
    }
    expect(values(await load(await openAsBlob(path('a model.safetensors'))))).toEqual(values(model))
  })

  it('that is large is read in chunks, and may be aborted between them', async () => {
    const large = tensor(new Float32Array(3_000_000))
    await saveTensors(new Map([['large', large]]), path('large.safetensors'))
    const { length } = readFileSync(path('large.safetensors'))
    for (const source of [path('large.safetensors'), await openAsBlob(path('large.safetensors'))]) {
      const told: ProgressReport[] = []
      const { tensors } = await loadTensors(source, {
        on_progress: (progress) => told.push(progress),
      })
      expect(tensors.get('large')?.shape).toEqual([3_000_000])
      expect(told.length).toBeGreaterThan(2)
      expect(told[0]?.total).toBe(length)
      expectProgress(told, length)

      const controller = new AbortController()
      const seen: number[] = []
      const on_progress = ({ loaded }: ProgressReport) => {
        seen.push(loaded)
        controller.abort('enough')
      }
      await expect(loadTensors(source, { signal: controller.signal, on_progress })).rejects.toBe(
        'enough',
      )
      expect(seen.length).toBe(1)
    }
  })

  it('is read from a stream of Node', async () => {
    writeFileSync(path('streamed'), bytes)
    expect(values(await load(createReadStream(path('streamed'), { highWaterMark: 1000 })))).toEqual(
      values(model),
    )
    expect(values(await load(Readable.from([bytes])))).toEqual(values(model))
    await expectError(
      load(createReadStream(path('nothing'))),
      'file',
      /the stream broke off.*ENOENT/,
    )
    // the abort ends a pending read
    const silent = new Readable({ read() {} })
    await expect(load(silent, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
    expect(silent.destroyed).toBe(true)
    const handle = await fs.promises.open(path('streamed'))
    await expectError(
      load(handle as never),
      'invalid_argument',
      /a FileHandle: give its createReadStream\(\)/,
    )
    expect(values(await load(handle.createReadStream()))).toEqual(values(model))
  })

  it('of PyTorch may be a stream too, in chunks of any size', async () => {
    const file = fileURLToPath(new URL('../checkpoints/model.pt', import.meta.url))
    const want = loadTensorsSync(file).tensors
    for (const highWaterMark of [7, 1000, 1e6]) {
      const { tensors } = await loadTensors(createReadStream(file, { highWaterMark }))
      expect([...tensors].map(([name, x]) => [name, numbers(x)])).toEqual(
        [...want].map(([name, x]) => [name, numbers(x)]),
      )
    }
  })

  it('without a size is read too', async () => {
    writeFileSync(path('empty'), '')
    const told: ProgressReport[] = []
    await expectError(
      load(path('empty'), { on_progress: (p) => told.push(p) }),
      'invalid_checkpoint',
      /it is empty/,
    )
    expect(told).toEqual([{ loaded: 0, total: 0 }])
    await expectError(load(folder), 'file', /EISDIR/)
  })

  it('that cannot be read is an error', async () => {
    await expectError(load(path('nothing')), 'file', /ENOENT/)
    await expectError(load(pathToFileURL(path('nothing'))), 'file', /ENOENT/)
    await expectError(load('a\0b'), 'file', /null bytes/)
    await expectError(load(new URL('file://other-host/x')), 'file', /host/)
    expect(() => loadTensorsSync(path('nothing'))).toThrowError(
      expect.objectContaining({ code: 'file' }),
    )
  })

  it('is closed if stat fails, or the native side cannot read it', async () => {
    writeFileSync(path('closed.safetensors'), bytes)
    const opened: number[] = []
    const { fstatSync } = fs
    const look = (fail: boolean) => (descriptor: number) => {
      opened.push(descriptor)
      if (fail) throw Object.assign(new Error('EIO: i/o error, fstat'), { code: 'EIO' })
      return fstatSync(descriptor)
    }
    const reader = vi.spyOn(native, 'reader').mockImplementation(() => {
      throw new Error('no reader')
    })
    try {
      for (const fail of [true, false]) {
        fs.fstatSync = look(fail) as typeof fstatSync
        syncBuiltinESMExports()
        expect(() => loadTensorsSync(path('closed.safetensors'))).toThrow(
          fail ? /EIO/ : /no reader/,
        )
      }
      const { stream, cancelled } = endless(bytes)
      await expectError(loadTensors(stream), 'internal', /no reader/)
      expect(cancelled).toMatchObject([{ code: 'internal' }])
    } finally {
      fs.fstatSync = fstatSync
      syncBuiltinESMExports()
      reader.mockRestore()
    }
    expect(opened.length).toBe(2)
    for (const descriptor of opened) expect(() => fstatSync(descriptor)).toThrow(/EBADF/)
  })

  it('of a browser is rejected', async () => {
    for (const source of ['opfs:x/y', new URL('opfs:x/y')]) {
      await expectError(load(source), 'file', /opfs:x\/y names a file of a browser/)
      expect(() => loadSync(source)).toThrow(/names a file of a browser/)
    }
    await expectError(model.save('opfs:x'), 'file', /Node needs a path/)
    expect(() => model.saveSync('opfs:x')).toThrow(/Node needs a path/)
  })
})

describe('saving', () => {
  it('supports any stream of Node', async () => {
    await model.save(
      Writable.toWeb(createWriteStream(path('stream.safetensors'))) as WritableStream,
    )
    expect(values(loadSync(path('stream.safetensors')))).toEqual(values(model))
    const nowhere = Writable.toWeb(createWriteStream(path('no/such/folder'))) as WritableStream
    await expectError(model.save(nowhere), 'file', /the stream cannot be written: ENOENT/)
  })

  it('keeps the old file if it fails, without a temporary file', async () => {
    mkdirSync(path('full/inner'), { recursive: true })
    await expectError(model.save(path('full')), 'file', /EISDIR|ENOTEMPTY|EEXIST|EPERM/)
    expect(() => model.saveSync(path('full'))).toThrowError(
      expect.objectContaining({ code: 'file' }),
    )
    await expectError(model.save(path('no/such/folder/x')), 'file', /ENOENT/)
    expect(readdirSync(folder).filter((name) => name.startsWith('full'))).toEqual(['full'])
    expect(readdirSync(path('full'))).toEqual(['inner'])
  })
})
