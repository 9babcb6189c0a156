import { onTestFinished } from 'vitest'

const IN_NODE = typeof process === 'object' && process.versions?.node !== undefined

/** Modules of Node by a name that bundlers of pages do not follow. */
const nodeModule = (name: string) => import(/* @vite-ignore */ `node:${name}`)

let count = 0

/** The name of a folder that is not there yet, and is removed after the test. */
export async function newFolder(): Promise<string> {
  const name = `run-${Date.now()}-${count++}`
  if (!IN_NODE) {
    onTestFinished(async () => {
      const root = await navigator.storage.getDirectory()
      await root.removeEntry(name, { recursive: true }).catch(() => {})
    })
    return `opfs:${name}`
  }
  const [{ rmSync }, { tmpdir }, { join }] = await Promise.all(['fs', 'os', 'path'].map(nodeModule))
  const folder = join(tmpdir(), `x-transformers-${process.pid}-${name}`)
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
