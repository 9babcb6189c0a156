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
 * The options of apt-get for another release of Debian than the installed one, or for another
 * architecture: with package lists of their own, from the same server.
 */
async function foreign({ suite, debian: arch }) {
  const format = '$(REPO_URI)|$(LABEL)'
  const args = ['indextargets', '--format', format, 'Created-By: Packages']
  const { out } = await run('apt-get', args, { stdout: 'capture' })
  const server = out.match(/^(.*)\|Debian$/m)?.[1]
  if (!server) throw new Failure('apt-get knows no server of Debian.')
  const folder = join(cache(), 'debian', `lists-${suite}-${arch}`)
  for (const part of ['lists', 'cache/archives'])
    mkdirSync(join(folder, part, 'partial'), { recursive: true })
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg'
  const list = join(folder, 'sources.list')
  writeFileSync(list, `deb [arch=${arch} signed-by=${keys}] ${server} ${suite} main\n`)
  const options = [
    ...[`Dir::Etc::sourcelist=${list}`, 'Dir::Etc::sourceparts=-', 'APT::Sandbox::User=root'],
    ...[`Dir::State::lists=${join(folder, 'lists')}`, `Dir::Cache=${join(folder, 'cache')}`],
    ...['amd64', arch].map((name) => `APT::Architectures::=${name}`),
  ].flatMap((option) => ['-o', option])
  const { code } = await run('apt-get', [...options, '-qq', 'update'])
  if (code !== 0) throw new Failure(`apt-get could not read the packages of ${suite}.`)
  return options
}

/**
 * The folder in which these packages, without what they depend on, are unpacked; `name` is that of
 * the folder in the cache.
 *
 * @param more `finish` completes the folder; `suite` and `debian` are a release of Debian and an
 *   architecture, where they are not the installed ones
 */
export async function unpacked(name, packages, { finish = async () => {}, ...from } = {}) {
  const folder = join(cache(), 'debian', name)
  const mark = join(folder, '.complete')
  if (existsSync(mark)) return folder
  if (!hasDebian())
    throw new Failure(`${packages.join(', ')}: these packages of Debian are needed, on x86-64.`)
  say(`Unpacking Debian's ${name} into the cache ...`)
  rmSync(folder, { recursive: true, force: true })
  const debs = join(folder, 'debs')
  mkdirSync(debs, { recursive: true })
  const options = from.suite ? await foreign(from) : []
  const { code } = await run('apt-get', [...options, 'download', ...packages], { cwd: debs })
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
