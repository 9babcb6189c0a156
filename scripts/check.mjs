// `npm run check`: checks what has changed since the last commit, or, with `--base REF`, since
// another one. It takes a minute or less for a small change, and is no replacement for `npm test`.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { plan } from './check/plan.mjs'
import { useKernels } from './cuda/kernels.mjs'
import { ensure, main } from './ensure.mjs'
import { bin, Failure, root, run, say } from './lib.mjs'
import { ensurePackages } from './packages.mjs'
import { check, runParts, tee } from './parts.mjs'
import { builtPrograms, CARGO_TEST, colours, rustCounts } from './rust.mjs'
import { vitest } from './vitest.mjs'

async function output(program, ...args) {
  const { code, out } = await run(program, args, { stdout: 'capture' })
  if (code !== 0) throw new Failure(`\`${program} ${args.join(' ')}\` failed.`)
  return out
}

const lines = (text) => text.split('\0').filter(Boolean)

/** The paths that differ from a commit, those that git does not know yet too. */
async function changedFiles(base) {
  const changed = await output('git', 'diff', '--name-only', '--no-renames', '-z', base)
  const others = await output('git', 'ls-files', '--others', '--exclude-standard', '-z')
  return [...new Set([...lines(changed), ...lines(others)])].sort()
}

const read = (path) => ({ path, text: readFileSync(join(root, path), 'utf8') })

const isFile = (path) => existsSync(join(root, path)) && statSync(join(root, path)).isFile()

function allTests() {
  const files = readdirSync(join(root, 'test'), { recursive: true })
  return files
    .map((file) => `test/${file.replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.test.ts') && !path.includes('/node_modules/'))
    .map(read)
}

/** The crates of the workspace, and what each of them depends on. */
async function allCrates() {
  const { packages } = JSON.parse(
    await output('cargo', 'metadata', '--no-deps', '--format-version', '1'),
  )
  const own = new Set(packages.map(({ name }) => name))
  return packages.map(({ name, manifest_path, dependencies }) => ({
    name,
    folder: relative(root, dirname(manifest_path)).replaceAll('\\', '/'),
    needs: dependencies.map((dependency) => dependency.name).filter((other) => own.has(other)),
  }))
}

const node = (...args) => tee(process.execPath, ...args)
const cargo = (...args) => check(tee('cargo', ...args))

/** Fewer of the drawn cases than `npm test` has. */
const QUICK = { PROPTEST_CASES: '4' }

/**
 * The tests of the changed crates. Of the crates that depend on them, clippy has compiled all, and
 * their recorded cases are enough here.
 */
async function rustTests({ changed, reached }, crates) {
  const folders = new Map(crates.map(({ name, folder }) => [join(root, folder), name]))
  const owner = (manifest) => folders.get(dirname(manifest))
  const args = [...CARGO_TEST, '--no-run']
  const own = await builtPrograms(args, (manifest) => changed.includes(owner(manifest)))
  const golden = reached.includes('xt-core')
    ? await builtPrograms(args, (manifest) => owner(manifest) === 'xt-core')
    : null
  const programs = new Set([...(own?.values() ?? []), golden?.get('golden')].filter(Boolean))
  const sum = { passed: 0, failed: own ? 0 : 1, skipped: 0, failures: [] }
  for (const program of programs) {
    const env = { ...colours, ...QUICK }
    const counts = rustCounts(await run(program, [], { stdout: 'tee', env }))
    for (const column of ['passed', 'failed', 'skipped']) sum[column] += counts[column]
    sum.failures.push(...(counts.failures ?? []))
  }
  return sum
}

function rustParts({ rustfmt, crates: { changed, reached }, generate }, crates) {
  return {
    ...(rustfmt && { rustfmt: () => cargo('fmt', '--all', '--check') }),
    ...(generate && {
      'xtask generate --check': () =>
        cargo('run', '--release', '-p', 'xtask', '--', 'generate', '--check'),
    }),
    ...(reached.length && {
      // of the whole workspace, as in `npm test`: another choice of crates has other features, and
      // would be compiled anew; cargo checks only what has changed
      clippy: () =>
        cargo('clippy', '--release', '--workspace', '--all-targets', '--', '-D', 'warnings'),
      'cargo test': () => rustTests({ changed, reached }, crates),
    }),
  }
}

/** Checks again only what depends on a changed file. */
const INCREMENTAL = ['--incremental', '--tsBuildInfoFile', '.cache/check.tsbuildinfo']

function typescriptParts({ biome, tsc, vitest: tests, pages }) {
  const browser = tests.browser.length > 0
  const steps = ['addon', ...(browser ? ['wasm'] : []), ...(tests.dist ? ['ts'] : [])]
  const built = async () => await ensure(steps)
  const titles = pages.map((page) => page.replaceAll('.', '\\.')).join('|')
  const docs = ['test/docs/docs.test.ts', '-t', `${titles}|type-checks|the pages`]
  const part = (project, args) => async () => {
    await built()
    return vitest(project, {}, args)
  }
  return {
    ...(biome.length && {
      biome: () =>
        check(
          node(
            bin('@biomejs/biome', 'biome'),
            'check',
            '--error-on-warnings',
            '--no-errors-on-unmatched',
            ...biome,
          ),
        ),
    }),
    ...(tsc && { tsc: () => check(node(bin('typescript', 'tsc'), '--noEmit', ...INCREMENTAL)) }),
    ...(pages.length && { 'vitest docs': part('node', docs) }),
    ...(tests.node.length && { 'vitest node': part('node', tests.node) }),
    ...(browser && { 'vitest browser': part('browser', tests.browser) }),
  }
}

await main(async () => {
  const { values } = parseArgs({ options: { base: { type: 'string', default: 'HEAD' } } })
  await ensurePackages()
  const files = await changedFiles(values.base)
  if (!files.length) return say(`Nothing has changed since ${values.base}.`)
  const crates = await allCrates()
  const contents = files.filter(isFile).map(read)
  const chosen = plan({ files, contents, tests: allTests(), crates })
  const parts = { ...rustParts(chosen, crates), ...typescriptParts(chosen) }
  say(`${files.length} changed: ${files.slice(0, 8).join(', ')}${files.length > 8 ? ' ...' : ''}`)
  if (!Object.keys(parts).length) return say('Nothing checks these files.')
  await useKernels()
  await runParts(parts, Object.keys(parts))
})
