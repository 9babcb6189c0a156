// examples/vite-app in Chromium: trains, stops, saves, writes; loads what it has saved, and writes.
import { cpus } from 'node:os'
import { ensureChromium, FLAGS } from '../../chromium.mjs'
import { isStub } from '../../wasm/stub.mjs'
import { isText } from '../output.mjs'
import { must } from '../sample.mjs'

const PROMPT = 'Call me '

/** Waits for an action to end: its button is enabled again. */
const idle = (page) => page.waitForSelector('#train:enabled')

const status = (page) => page.textContent('#status')

async function writes(page) {
  await page.click('#write')
  await idle(page)
  const text = await page.textContent('#text')
  isText(text.slice(PROMPT.length), 200)
}

async function use(page) {
  await idle(page)
  const ready = await status(page)
  const threads = isStub() ? 1 : cpus().length
  must(ready.startsWith(`Ready, on ${threads} thread`), `${threads} threads: ${ready}`)

  await page.click('#train')
  await page.waitForFunction(
    "/Step [1-9]\\d\\d/.test(document.getElementById('status').textContent)",
  )
  await page.click('#stop')
  await idle(page)
  const trained = await status(page)
  must(Number(trained.split('loss ')[1]) < 3.3, `It has not learned: ${trained}`)
  await writes(page)
  await page.click('#save')
  await idle(page)

  await page.reload()
  await idle(page)
  await page.click('#load')
  await idle(page)
  await writes(page)
}

export async function viteApp(project) {
  await project.copy('examples/vite-app').run('npm install')
  await project.run('npm run build')
  // only once the repository's packages are there
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({ executablePath: await ensureChromium(), args: FLAGS })
  const line = 'npm start -- --host 127.0.0.1 --port $PORT --strictPort'
  try {
    await project.serve(line, async (address) => {
      const page = await browser.newPage()
      page.setDefaultTimeout(120_000)
      const errors = []
      page.on('pageerror', (error) => errors.push(error.stack))
      await page.goto(address)
      await use(page).catch(async (error) => {
        throw new Error(`${error.message}\n${await status(page)}\n${errors.join('\n')}`)
      })
      must(!errors.length, errors.join('\n'))
    })
  } finally {
    await browser.close()
  }
}
