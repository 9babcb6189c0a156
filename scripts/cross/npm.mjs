// Packages of npm, unpacked into the cache.
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, npm, run, say } from '../lib.mjs'

/** The folder of a package of npm, without what it depends on. */
export async function fromNpm(name, version) {
  const folder = join(cache(), 'npm', `${name.replace('/', '-')}-${version}`)
  if (existsSync(folder)) return folder
  say(`Fetching ${name} ${version} ...`)
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  const packed = await npm(['pack', '--silent', `${name}@${version}`], {
    cwd: unfinished,
    stdout: 'capture',
  })
  const [archive] = readdirSync(unfinished)
  const { code } = archive
    ? await run('tar', ['xf', archive], { cwd: unfinished })
    : { code: packed.code || 1 }
  if (code !== 0) {
    rmSync(unfinished, { recursive: true, force: true })
    throw new Failure(`${name} ${version} could not be fetched from npm.`)
  }
  cpSync(join(unfinished, 'package'), folder, { recursive: true })
  rmSync(unfinished, { recursive: true, force: true })
  return folder
}
