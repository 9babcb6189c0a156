// `npm test`: opens a hidden window, presses its button, and waits for text. Without a display:
// `xvfb-run npm test`.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { app } from 'electron'
import { openWindow } from './main.mjs'

const PATIENCE = 180_000

async function check() {
  const window = await openWindow({ show: false })
  const read = (code) => window.webContents.executeJavaScript(code)
  const until = async (condition) => {
    while (!(await read(condition))) await sleep(100)
  }
  await until("!document.getElementById('write').disabled")
  const status = await read("document.getElementById('status').textContent")
  if (status !== 'Ready (native)') throw new Error(`the addon was not loaded: ${status}`)
  await read("document.getElementById('write').click()")
  await until("document.getElementById('text').textContent.length > 60")
  await read("document.getElementById('stop').click()")
  return read("document.getElementById('text').textContent")
}

function end(code, message) {
  console.log(message)
  app.exit(code)
}

// the model is trained anew
app.setPath('userData', mkdtempSync(join(tmpdir(), 'writer-')))
setTimeout(() => end(1, `failed: nothing was written in ${PATIENCE / 1000} seconds`), PATIENCE)
app
  .whenReady()
  .then(check)
  .then(
    (text) => end(0, `passed: ${text}`),
    (error) => end(1, `failed: ${error.stack}`),
  )
