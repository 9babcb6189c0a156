// The main process: it has the model, and sends the window what it writes.
import { join } from 'node:path'
import { app, BrowserWindow, ipcMain } from 'electron'
import { info } from 'x-transformers'
import { loadOrTrain, write } from './model.mjs'

const FOLDER = import.meta.dirname

/** The running generation: a new one, Stop, or closing the window ends it. */
let controller = new AbortController()

/** Handles what the window asks for; `write` settles when its text is complete. */
function serve(window) {
  const send = (name, ...values) => {
    if (!window.isDestroyed()) window.webContents.send(name, ...values)
  }
  const loading = loadOrTrain(
    join(app.getPath('userData'), 'model.safetensors'),
    (step, steps, loss) =>
      send('status', `Learning: step ${step + 1} of ${steps}, loss ${loss.toFixed(2)}`),
  )
  ipcMain.handle('ready', async () => {
    await loading
    return info().target
  })
  ipcMain.handle('write', async (_, prompt) => {
    controller.abort()
    controller = new AbortController()
    const { signal } = controller
    try {
      for await (const piece of write(await loading, prompt, signal)) send('text', piece)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  })
  ipcMain.handle('stop', () => controller.abort())
  window.on('closed', () => controller.abort())
}

export async function openWindow(options = {}) {
  const preload = join(FOLDER, 'preload.cjs')
  const window = new BrowserWindow({
    width: 700,
    height: 500,
    ...options,
    webPreferences: { preload },
  })
  serve(window)
  await window.loadFile(join(FOLDER, 'index.html'))
  return window
}
