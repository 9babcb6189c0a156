// Who takes part: TensorFlow.js and this package, each held in a page of Chromium or in a process of its own.
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { ensureChromium, FLAGS } from '../../scripts/chromium.mjs'
import { root } from '../../scripts/lib.mjs'
import { bundle } from './bundle.mjs'
import { serve } from './server.mjs'

const PAGES = '/bench/browser/page'

/**
 * `file` and `variant`: see page/runner.js. `slow`: fewer rounds for the large model. `process`: in a Node process in place of a page.
 * `needs`: a file of the build; where it is missing, the contender is left out.
 */
export const CONTENDERS = {
  tfjs: { title: 'TensorFlow.js, wasm', file: './tfjs.js', variant: 'plain', slow: true },
  'tfjs-tuned': {
    title: 'TensorFlow.js, tuned by hand',
    file: './tfjs.js',
    variant: 'tuned',
    slow: true,
  },
  wasm: { title: 'ours, Chromium', file: './ours.js', needs: 'dist/esm/index.browser.js' },
  worker: {
    title: 'ours, worker, one thread',
    file: './worker.js',
    variant: 1,
    needs: 'dist/esm/worker.js',
  },
  threads: {
    title: 'ours, worker, threads',
    file: './worker.js',
    variant: 'auto',
    needs: 'dist/esm/worker.js',
  },
  native: { title: 'ours, Node, one thread', file: './ours.js', process: true },
}

/** Chromium with the pages of the bench: `{ version, open(), close() }`. */
export async function startBrowser() {
  const { chromium } = await import('playwright-core')
  const executablePath = await ensureChromium()
  const server = await serve(root, {
    [`${PAGES}/tfjs.js`]: () => bundle(join(root, PAGES, 'tfjs.js')),
  })
  const browser = await chromium.launch({ executablePath, args: FLAGS })
  return {
    version: browser.version(),
    /** A page of its own: calls of the runner's functions, and its end. */
    async open() {
      // A context of its own is a process of its own.
      const context = await browser.newContext()
      const page = await context.newPage()
      await page.goto(`${server.address}${PAGES}/index.html`)
      await page.waitForFunction(() => 'runner' in globalThis)
      return {
        call: (method, ...args) =>
          page.evaluate(([name, given]) => globalThis.runner[name](...given), [method, args]),
        close: () => context.close(),
      }
    },
    async close() {
      await browser.close()
      server.close()
    },
  }
}

/** A Node process, as a page is opened. */
export function openProcess() {
  const child = fork(new URL('native.mjs', import.meta.url), { serialization: 'advanced' })
  const answer = () =>
    new Promise((resolve, reject) => {
      const gone = (code) => reject(new Error(`the process ended with ${code}`))
      child.once('exit', gone)
      child.once('message', ({ result, error }) => {
        child.off('exit', gone)
        if (error === undefined) resolve(result)
        else reject(new Error(error))
      })
    })
  return {
    call(method, ...args) {
      child.send({ method, args })
      return answer()
    },
    close: () => child.kill(),
  }
}
