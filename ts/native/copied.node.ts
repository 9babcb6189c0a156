// The addon as a bundler has copied it: the bundle has its address in place of its exports.
import { existsSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { here } from './wasm.node.js'

/**
 * The file that this code runs in, as the engine knows it: bundlers may write something else for
 * `__dirname`.
 */
function ownFile(): string | null {
  const { prepareStackTrace } = Error
  try {
    Error.prepareStackTrace = (_, sites) => sites[0]?.getFileName()
    const file: unknown = new Error().stack
    if (typeof file !== 'string') return null
    return file.startsWith('file:') ? fileURLToPath(file) : file
  } finally {
    Error.prepareStackTrace = prepareStackTrace
  }
}

/** Where the bundle may be. */
function folders(): string[] {
  const files = [ownFile(), process.argv[1]].filter((file) => typeof file === 'string')
  return [...new Set([resolve(here), ...files.map((file) => dirname(file))])]
}

/**
 * The path of the copy: from the bundle on, with less and less of what stands before its name,
 * since an address for browsers (`publicPath`) may begin with anything.
 *
 * @throws Error where it is nowhere
 */
export function pathOfCopy(address: string): string {
  if (address.startsWith('file:')) return fileURLToPath(address)
  const parts = address.split(/[/\\]/)
  const among = folders()
  for (const folder of among) {
    for (let i = 0; i < parts.length; i++) {
      const path = resolve(folder, parts.slice(i).join('/'))
      if (existsSync(path)) return path
    }
  }
  const name = basename(address)
  throw new Error(
    `the bundler's copy of it, ${address}, is not there: put ${name} beside the bundle, into ${among[0]}`,
  )
}
