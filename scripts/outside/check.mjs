// Installs the tarballs from a registry on this machine, outside of the repository, as users do,
// and runs them in every way that the documentation names, examples too.
// `npm run check:install -- NAME ...` runs the cases whose name contains one of the names.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensure, main } from '../ensure.mjs'
import { Failure, say } from '../lib.mjs'
import { EXAMPLES, ON_REQUEST } from './cases/examples.mjs'
import { MANAGERS } from './cases/managers.mjs'
import { PROGRAMS } from './cases/programs.mjs'
import { makeHome, Project } from './project.mjs'
import { startRegistry } from './registry.mjs'
import { tools } from './tools.mjs'

const ALL = { ...MANAGERS, ...PROGRAMS, ...EXAMPLES }

function chosen(wanted) {
  const every = { ...ALL, ...ON_REQUEST }
  if (!wanted.length) return Object.entries(ALL)
  const unknown = wanted.find((part) => !Object.keys(every).some((name) => name.includes(part)))
  if (unknown)
    throw new Failure(`No case is named ${unknown}; there is: ${Object.keys(every).join(', ')}.`)
  return Object.entries(every).filter(([name]) => wanted.some((part) => name.includes(part)))
}

/** Runs one case; the reason where it failed, null where it passed. */
async function reasonOf(body, project) {
  try {
    await body(project)
    return null
  } catch (error) {
    return error instanceof Failure ? error.message : error.stack
  }
}

async function runCases(cases, folder, env, programs) {
  const failures = []
  for (const [name, body] of cases) {
    const project = new Project(join(folder, name.replaceAll(/\W+/g, '-')), env, programs)
    const start = performance.now()
    const reason = await reasonOf(body, project)
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    console.log(`${reason === null ? 'ok    ' : 'FAILED'} ${seconds.padStart(6)} s  ${name}`)
    if (reason !== null) {
      failures.push(`${name}: ${reason}`)
      console.log(reason)
    }
    rmSync(project.folder, { recursive: true, force: true, maxRetries: 3 })
  }
  return { passed: cases.length - failures.length, failed: failures.length, failures }
}

/** The cases with these names, or all but those on request, and how many passed. */
export async function installCheck(wanted = []) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Failure('check:install needs Linux on x64, for the programs that it fetches.')
  const cases = chosen(wanted)
  await ensure(['packages', 'addon', 'wasm', 'ts'])
  const programs = await tools()
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-outside-'))
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  // at an exit what was started ends, and what was written goes: after Ctrl-C too
  process.once('exit', remove)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))
  say('Packing and publishing to a registry on this machine ...')
  let registry
  try {
    registry = await startRegistry(programs, folder)
    const env = makeHome(join(folder, 'home'), registry.url)
    const counts = await runCases(cases, join(folder, 'projects'), env, programs)
    if (counts.failed > 0) say(`What the registry said:\n${registry.said.all}`)
    return counts
  } finally {
    await registry?.close()
    remove()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    const wanted = process.argv.slice(2)
    const { passed, failed } = await installCheck(wanted)
    if (!wanted.length) console.log(`Not run, only by name: ${Object.keys(ON_REQUEST).join(', ')}`)
    console.log(`${passed} passed, ${failed} failed`)
    process.exitCode = failed > 0 ? 1 : 0
  })
}
