// Small apps from the tarball, built by bundlers or not at all, in a real browser.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { brotliCompressSync } from 'node:zlib'
import { type Browser, chromium } from 'playwright-core'
import { createServer } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeInfo } from 'x-transformers'
import { ensureChromium, FLAGS } from '../../scripts/chromium.mjs'
import { isStub } from '../../scripts/wasm/stub.mjs'
import { often, slow } from '../slow.js'
import { BUILDERS, MODULE, page } from './builders.js'
import { node, packed, root } from './packed.js'
import { ISOLATED, type Server, serve } from './server.js'

/** apps/*.js: on the main thread; in a worker; with a WebAssembly file that the page serves. */
const APPS = ['app', 'worker', 'wasm'] as const
type App = (typeof APPS)[number]

/** The result of an app in `globalThis.report`. */
interface Report {
  info: RuntimeInfo
  losses: number[]
  shape: number[]
  loaded: number
}

let folder: string
let browser: Browser
/** The losses of the native build in Node, for the same model. */
let losses: number[]

beforeAll(async () => {
  const installed = await packed()
  folder = installed.native
  layOut()
  browser = await chromium.launch({ executablePath: await ensureChromium(), args: FLAGS })
  losses = (await inNode('app')).losses
}, 300_000)

afterAll(() => browser?.close())

/**
 * The apps beside node_modules: apps/NAME/{index.html,main.js}, and in public the files that a page
 * serves itself.
 */
function layOut(): void {
  mkdirSync(join(folder, 'public'))
  for (const app of APPS) {
    mkdirSync(join(folder, 'apps', app), { recursive: true })
    copyFileSync(join(root, 'test/package/apps', `${app}.js`), join(folder, 'apps', app, 'main.js'))
    writeFileSync(join(folder, 'apps', app, 'index.html'), page(MODULE))
  }
  const pkg = join(folder, 'node_modules/x-transformers/dist/esm/wasm/pkg')
  copyFileSync(join(pkg, 'x-transformers.wasm'), join(folder, 'public/x-transformers.wasm'))
}

async function inNode(app: App): Promise<Report> {
  const url = pathToFileURL(join(folder, 'apps', app, 'main.js'))
  const code = `await import('${url}'); console.log(JSON.stringify(globalThis.report))`
  return JSON.parse(await node(folder, '--input-type=module', '--eval', code))
}

/** Opens a page, and returns its report. Any error on the page fails the test. */
async function open(url: string): Promise<Report> {
  const tab = await browser.newPage()
  try {
    const trouble = new Promise<never>((_, reject) => {
      tab.on('pageerror', reject)
      tab.on(
        'console',
        (message) => message.type() === 'error' && reject(new Error(message.text())),
      )
    })
    const report = tab
      .goto(url)
      .then(() => tab.waitForFunction('globalThis.report', null, { timeout: 50_000 }))
    return (await (await Promise.race([report, trouble])).jsonValue()) as Report
  } finally {
    await tab.close()
  }
}

/** Starts a server for an app; `path` is the path of the page. */
type Serve = (app: App, headers?: Record<string, string>) => Promise<Server & { path: string }>

/** The tests of every way to build a page. */
function pages(start: Serve): void {
  async function run(app: App, headers?: Record<string, string>): Promise<Report> {
    const { address, path, close } = await start(app, headers)
    try {
      return await open(address + path)
    } finally {
      await close()
    }
  }

  function expectLosses(got: readonly number[]): void {
    expect(got).toHaveLength(losses.length)
    for (const [i, loss] of losses.entries()) expect(got[i]).toBeCloseTo(loss, 4)
    expect(got.at(-1)).toBeLessThan((got[0] as number) / 2)
  }

  it('trains and generates on the page, with the same numbers as in Node', async () => {
    const { info, shape, losses } = await run('app')
    expect(info).toMatchObject({ target: 'wasm', build: 'relaxed', threads: 1 })
    expectLosses(losses)
    expect(shape).toEqual([1, 4])
  })

  it('trains in a worker, with one thread', async () => {
    const { info, shape, losses } = await run('worker')
    expect(info).toMatchObject({ target: 'wasm', build: 'relaxed', threads: 1 })
    expect(info.threads_reason).toContain('isolated')
    expectLosses(losses)
    expect(shape).toEqual([1, 32, 16])
  })

  it('trains in a worker with several threads, if the page is isolated', async () => {
    const { info, losses } = await run('worker', ISOLATED)
    const stub = isStub(join(folder, 'node_modules/x-transformers/dist/esm/wasm/pkg'))
    if (stub)
      expect(info).toMatchObject({
        threads: 1,
        threads_reason: expect.stringContaining('was not made'),
      })
    else expect(info).toMatchObject({ target: 'wasm', build: 'threads', threads: 2 })
    expectLosses(losses)
  })

  it('uses a WebAssembly file that the page serves', async () => {
    const { info, shape, loaded } = await run('wasm')
    expect(info).toMatchObject({ target: 'wasm', build: 'plain', threads: 1 })
    expect(loaded).toBeGreaterThan(1e6)
    expect(shape).toEqual([1, 32, 16])
  })
}

const texts = (out: string, end: string): Buffer[] =>
  readdirSync(out, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end))
    .map((name) => readFileSync(join(out, name)))

const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(0)} kB`
const size = (files: Buffer[]) => files.reduce((sum, { length }) => sum + length, 0)

function describeSize(bundler: string, app: App, out: string): string {
  const js = texts(out, '.js')
  const wasm = texts(out, '.wasm')
  const brotli = size(js.map((text) => brotliCompressSync(text)))
  return `${bundler}, ${app}: JavaScript ${kilobytes(size(js))} (with brotli ${kilobytes(brotli)}), ${wasm.length} WebAssembly files ${kilobytes(size(wasm))}`
}

describe.each(often(BUILDERS, ['webpack', 'esbuild']))('%s', (name, build) => {
  const outOf = (app: App) => join(folder, '../built', name, app)

  beforeAll(async () => {
    for (const app of APPS) {
      mkdirSync(outOf(app), { recursive: true })
      await build({
        app: join(folder, 'apps', app),
        out: outOf(app),
        site: folder,
        worker: app === 'worker',
      })
    }
    console.log(APPS.map((app) => describeSize(name, app, outOf(app))).join('\n'))
  }, 120_000)

  it.for(APPS)('leaves out code for Node, from %s', (app) => {
    const all = texts(outOf(app), '.js').join('\n')
    expect(all.length).toBeGreaterThan(10_000)
    expect(
      all.match(
        /.{0,40}(["'`]node:|createRequire|X_TRANSFORMERS_ADDON|\.node["'`]|process\.).{0,40}/g,
      ),
    ).toBeNull()
  })

  pages(async (app, headers) => ({
    ...(await serve([outOf(app), join(folder, 'public')], headers)),
    path: '/index.html',
  }))
})

slow.describe("Vite's dev server", () => {
  pages(async (app, headers) => {
    const settings = { configFile: false, logLevel: 'warn', root: folder } as const
    const server = await createServer({
      ...settings,
      server: { host: '127.0.0.1', port: 0, headers },
    })
    await server.listen()
    const [url] = server.resolvedUrls?.local ?? []
    return {
      address: new URL(url as string).origin,
      path: `/apps/${app}/index.html`,
      close: () => server.close(),
    }
  })
})

describe('no bundler', () => {
  const at = '/node_modules/x-transformers/dist/esm'
  const imports = {
    'x-transformers': `${at}/index.browser.js`,
    'x-transformers/wasm': `${at}/wasm.js`,
    'x-transformers/worker': `${at}/worker.js`,
  }

  pages(async (app, headers) => {
    const map = `<script type="importmap">${JSON.stringify({ imports })}</script>\n`
    writeFileSync(join(folder, 'apps', app, 'plain.html'), page(MODULE, map))
    return {
      ...(await serve([folder, join(folder, 'public')], headers)),
      path: `/apps/${app}/plain.html`,
    }
  })
})
