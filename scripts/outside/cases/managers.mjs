// Package managers: each installs the package as its users type it, and runs the README's sample.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../lib.mjs'
import { asCommonJs, asModule, logged, same } from '../sample.mjs'

const FILES = { 'package.json': { private: true }, 'a.mjs': asModule, 'b.cjs': asCommonJs }

/** The one addon that is installed. */
const ADDON = ['linux-x64-gnu']

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** An empty project with the package, by `npm install` unless told otherwise. */
export async function installed(project, command = 'npm install x-transformers') {
  project.write(FILES)
  await project.run(command)
  return project
}

/** Both forms of the sample. */
async function runsBoth(project, node = 'node', target = 'native') {
  same(await project.lines(`${node} a.mjs`), logged(target), 'the output of a.mjs')
  same(await project.lines(`${node} b.cjs`), logged(target), 'the output of b.cjs')
}

const addonsIn = (project, folder) => readdirSync(project.path(folder)).sort()
const MODULES = 'node_modules/@x-transformers'

async function npm(project) {
  await installed(project)
  same(addonsIn(project, MODULES), ADDON, 'what npm has installed')
  await runsBoth(project)
}

async function pnpm(project) {
  await installed(project, 'pnpm add x-transformers')
  const addons = addonsIn(project, 'node_modules/.pnpm').filter((name) => name.startsWith('@'))
  same(addons, [`@x-transformers+linux-x64-gnu@${version}`], 'what pnpm has installed')
  await runsBoth(project)
}

/** Yarn 1 does not know the C library of a package: it installs the addon for musl too. */
async function yarn1(project) {
  await installed(project, 'yarn1 add x-transformers')
  same(addonsIn(project, MODULES), [...ADDON, 'linux-x64-musl'], 'what yarn has installed')
  await runsBoth(project)
}

async function yarn(project) {
  await installed(project, 'yarn add x-transformers')
  same(existsSync(project.path('.pnp.cjs')), true, 'the file .pnp.cjs')
  await runsBoth(project, 'yarn node')
}

async function yarnModules(project) {
  project.write({ '.yarnrc.yml': 'nodeLinker: node-modules\n' })
  await installed(project, 'yarn add x-transformers')
  same(addonsIn(project, MODULES), ADDON, 'what yarn has installed')
  await runsBoth(project)
}

async function bun(project) {
  await installed(project, 'bun add x-transformers')
  same(addonsIn(project, MODULES), ADDON, 'what Bun has installed')
  await runsBoth(project, 'bun')
  await runsBoth(project)
}

async function deno(project) {
  await installed(project, 'deno add npm:x-transformers')
  await runsBoth(project, 'deno run -A')
}

async function withoutAddon(project) {
  await installed(project)
  rmSync(project.path(MODULES), { recursive: true })
  await runsBoth(project, 'node', 'wasm')
}

async function omitted(project) {
  await installed(project, 'npm install --omit=optional x-transformers')
  await runsBoth(project, 'node', 'wasm')
}

/** What docs/deploy.md says of functions with little room. */
async function withoutPages(project) {
  await installed(project)
  rmSync(project.path('node_modules/x-transformers/dist/esm'), { recursive: true })
  await runsBoth(project)
}

/** As for a function that runs elsewhere. */
async function elsewhere(project) {
  await installed(project, 'npm install --os=linux --cpu=arm64 --libc=glibc x-transformers')
  same(addonsIn(project, MODULES), ['linux-arm64-gnu'], 'what npm has installed')
}

export const MANAGERS = {
  npm,
  pnpm,
  'yarn 1': yarn1,
  'yarn, Plug and Play': yarn,
  'yarn, node_modules': yarnModules,
  Bun: bun,
  Deno: deno,
  'npm, the native package deleted': withoutAddon,
  'npm --omit=optional': omitted,
  'npm, the files for pages deleted': withoutPages,
  'npm, for another platform': elsewhere,
}
