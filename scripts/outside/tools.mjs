// The programs of users, in the versions of this table: fetched from npm into the cache, so that
// they are no devDependencies.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, hashOf, npm, say } from '../lib.mjs'

const VERSIONS = {
  '@deno/linux-x64-glibc': '2.9.6',
  '@oven/bun-linux-x64': '1.4.5',
  '@yarnpkg/cli-dist': '4.18.1',
  pnpm: '12.21.0',
  verdaccio: '6.8.0',
  yarn: '1.22.22',
}

/** The registry asks for a tag of this package, which mirrors need not have. */
const OVERRIDES = { 'node-fetch': '2.7.0' }

/** What is installed into projects besides; the newest that run on Node 20. */
export const WITH = {
  jest: 'jest@30.5.2',
  node: '@types/node@20',
  typescript: 'typescript@7.0.2',
  vitest: 'vitest@4.1.12',
}

async function install(folder) {
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  const manifest = { private: true, dependencies: VERSIONS, overrides: OVERRIDES }
  writeFileSync(join(unfinished, 'package.json'), JSON.stringify(manifest))
  const flags = ['--no-audit', '--no-fund', '--loglevel=error', '--prefix', unfinished]
  const { code } = await npm(['install', ...flags], { cwd: unfinished })
  if (code !== 0) {
    rmSync(unfinished, { recursive: true, force: true })
    throw new Failure('Package managers could not be fetched from npm; the reason stands above.')
  }
  renameSync(unfinished, folder)
}

/** The commands, each as the program and its first arguments. */
export async function tools() {
  const folder = join(cache(), 'outside', `tools-${hashOf([], VERSIONS, OVERRIDES).slice(0, 16)}`)
  if (!existsSync(folder)) {
    say('Fetching pnpm, yarn, Bun, Deno and a local registry ...')
    await install(folder)
  }
  const file = (path) => join(folder, 'node_modules', path)
  return {
    node: [process.execPath],
    npm: ['npm'],
    bun: [file('@oven/bun-linux-x64/bin/bun')],
    deno: [file('@deno/linux-x64-glibc/deno')],
    pnpm: [file('pnpm/pnpm')],
    yarn1: [process.execPath, file('yarn/bin/yarn.js')],
    yarn: [process.execPath, file('@yarnpkg/cli-dist/bin/yarn.js')],
    verdaccio: [process.execPath, file('verdaccio/bin/verdaccio')],
  }
}
