import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../../..', import.meta.url))

const CODE = `
  import { program } from './test/browser/equality/program.mjs'
  process.stdout.write(JSON.stringify(await program()))
`

/** Runs the program in Node on the built package. Returns its result as JSON. */
export async function runBuilt(addon: 'native' | 'wasm'): Promise<string> {
  const { X_TRANSFORMERS_ADDON: _, ...env } = process.env
  if (addon === 'wasm') env.X_TRANSFORMERS_ADDON = 'wasm'
  const args = ['--input-type=module', '--eval', CODE]
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: root,
    env,
    maxBuffer: 2 ** 28,
  })
  return stdout
}
