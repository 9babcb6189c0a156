// Publishes what the registries do not have yet: the platform packages, the package, the crates.
// `npm run release:publish -- [npm] [crates] [--dry-run]`; .github/workflows/release.yml calls it.
//
// `napi pre-publish` of napi-rs is not used: it copies addons into packages and writes
// optionalDependencies, which scripts/pack.mjs has done, and cannot go on after half of a release.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensure, main } from '../ensure.mjs'
import { Failure, npm, root, say } from '../lib.mjs'
import { pack, wasmSizes } from '../pack.mjs'
import { LARGEST, PLATFORMS } from '../platforms.mjs'
import { isStub } from '../wasm/stub.mjs'
import { publishCrates } from './crates.mjs'

const read = (path) => readFileSync(join(root, path), 'utf8')
const { version } = JSON.parse(read('package.json'))

/**
 * What speaks against a release.
 *
 * @param release `{ version, tag, changelog, addons, hasThreads }`: the addons as `{ name, size }`
 */
export function objections({ version, tag, changelog, addons, hasThreads }) {
  const found = []
  if (tag && tag !== `v${version}`) found.push(`The tag is ${tag}, the version ${version}.`)
  if (!new RegExp(`^## ${version.replaceAll('.', '\\.')}$`, 'm').test(changelog))
    found.push(`CHANGELOG.md has no heading "## ${version}".`)
  const have = new Set(addons.map(({ name }) => name))
  const missing = Object.keys(PLATFORMS).filter((name) => !have.has(name))
  if (missing.length) found.push(`There is no addon for ${missing.join(', ')}.`)
  for (const { name, size } of addons)
    if (size > LARGEST) found.push(`The addon for ${name} has ${size} bytes: not built to publish.`)
  if (!hasThreads) found.push('The WebAssembly build with threads is missing.')
  return found
}

function addons() {
  const files = Object.keys(PLATFORMS).map((name) => [name, `x-transformers.${name}.node`])
  return files
    .filter(([, file]) => existsSync(join(root, file)))
    .map(([name, file]) => ({ name, size: statSync(join(root, file)).size }))
}

/** Platform packages first: whoever installs the package a moment later finds them. */
export const inOrder = ([first, ...platforms]) => [...platforms, first]

/** Whether the registry of npm has this version of a package. */
async function isOnNpm(name) {
  const args = ['view', `${name}@${version}`, 'version', '--json', '--loglevel=silent']
  const { code, out } = await npm(args, { stdout: 'capture' })
  if (code === 0) return out.trim() !== ''
  if (out.includes('"E404"')) return false
  throw new Failure(`The registry of npm did not answer for ${name}:\n${out}`)
}

/** How npm publishes a file. Provenance is signed by the identity of the workflow. */
export function publishArguments(file, version, { dry, inWorkflow }) {
  const args = ['publish', file, '--access', 'public']
  if (version.includes('-')) args.push('--tag', 'next')
  if (dry) return [...args, '--dry-run']
  return inWorkflow ? [...args, '--provenance'] : args
}

async function publishNpm(dry) {
  await ensure(['packages', 'ts'])
  const large = (await wasmSizes(9)).filter(({ fits }) => !fits)
  if (large.length) throw new Failure(`Too large: ${large.map(({ name }) => name).join(', ')}.`)
  for (const { name, file } of inOrder(await pack(join(root, 'pack')))) {
    if (await isOnNpm(name)) {
      console.log(`${name} ${version} is on the registry.`)
      continue
    }
    const inWorkflow = Boolean(process.env.GITHUB_ACTIONS)
    const args = publishArguments(file, version, { dry, inWorkflow })
    const { code } = await npm([...args, '--loglevel=warn'])
    if (code !== 0) throw new Failure(`${name} could not be published; the reason stands above.`)
    console.log(dry ? `${name} ${version} could be published.` : `${name} ${version}: published.`)
  }
}

function checkRelease(dry) {
  const tag = process.env.GITHUB_REF_TYPE === 'tag' ? process.env.GITHUB_REF_NAME : null
  const changelog = read('CHANGELOG.md')
  const found = objections({ version, tag, changelog, addons: addons(), hasThreads: !isStub() })
  for (const text of found) say(text)
  if (found.length && !dry) throw new Failure('Nothing was published.')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await main(async () => {
    const names = process.argv.slice(2).filter((name) => name !== '--dry-run')
    const dry = process.argv.includes('--dry-run')
    const wanted = names.length ? names : ['npm', 'crates']
    const unknown = wanted.filter((name) => !['npm', 'crates'].includes(name))
    if (unknown.length) throw new Failure('npm run release:publish -- [npm] [crates] [--dry-run]')
    if (wanted.includes('npm')) {
      checkRelease(dry)
      await publishNpm(dry)
    }
    if (wanted.includes('crates')) await publishCrates({ dry })
  })
