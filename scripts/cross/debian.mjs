// Debian packages, unpacked into the cache. Nothing is installed on the system.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, onPath, run, say } from '../lib.mjs'

/** Whether packages can be fetched here. */
export const hasDebian = () =>
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  Boolean(onPath('apt-get') && onPath('dpkg'))

/** What apt says; empty where it fails. */
export async function apt(...args) {
  const { code, out } = await run('apt-cache', args, { stdout: 'capture' })
  return code === 0 ? out : ''
}

/**
 * The folder in which these packages, without what they depend on, are unpacked; `name` is that of
 * the folder in the cache. `finish` completes it.
 */
export async function unpacked(name, packages, finish = async () => {}) {
  const folder = join(cache(), 'debian', name)
  const mark = join(folder, '.complete')
  if (existsSync(mark)) return folder
  if (!hasDebian())
    throw new Failure(`${packages.join(', ')}: these packages of Debian are needed, on x86-64.`)
  say(`Unpacking Debian's ${name} into the cache ...`)
  rmSync(folder, { recursive: true, force: true })
  const debs = join(folder, 'debs')
  mkdirSync(debs, { recursive: true })
  const { code } = await run('apt-get', ['download', ...packages], { cwd: debs })
  if (code !== 0) throw new Failure(`apt-get could not download ${packages.join(', ')}.`)
  for (const deb of readdirSync(debs)) {
    const { code } = await run('dpkg', ['-x', join(debs, deb), folder])
    if (code !== 0) throw new Failure(`dpkg could not unpack ${deb}.`)
  }
  rmSync(debs, { recursive: true })
  await finish(folder)
  writeFileSync(mark, '')
  return folder
}
