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
import { ensureReport } from './report.mjs'
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
  return packages.map(({ name, manifest_path, dependencies, targets }) => ({
    name,
    folder: relative(root, dirname(manifest_path)).replaceAll('\\', '/'),
    needs: dependencies.map((dependency) => dependency.name).filter((other) => own.has(other)),
    tests: targets.filter(({ kind }) => kind.includes('test')).map(({ name }) => name),
  }))
}

const node = (...args) => tee(process.execPath, ...args)
const cargo = (...args) => check(tee('cargo', ...args))

/** Fewer of the drawn cases than `npm test` has. */
const QUICK = { PROPTEST_CASES: '4' }

/**
 * Unit tests of the changed crates, and some of the programs of tests. Of the crates that depend on
 * them, clippy has compiled all.
 */
async function rustTests({ changed, programs }, crates) {
  const owners = new Map(crates.map(({ name, folder }) => [join(root, folder), name]))
  const isOwn = (manifest) => ['xt-core', ...changed].includes(owners.get(dirname(manifest)))
  const targets = ['--lib', ...programs.flatMap((name) => ['--test', name])]
  const built = await builtPrograms([...CARGO_TEST, '--no-run', ...targets], isOwn)
  const names = [...changed.map((name) => name.replaceAll('-', '_')), ...programs]
  const sum = { passed: 0, failed: built ? 0 : 1, skipped: 0, failures: [] }
  for (const program of names.map((name) => built?.get(name)).filter(Boolean)) {
    const env = { ...colours, ...QUICK }
    const counts = rustCounts(await run(program, [], { stdout: 'tee', env }))
    for (const column of ['passed', 'failed', 'skipped']) sum[column] += counts[column]
    sum.failures.push(...(counts.failures ?? []))
  }
  return sum
}

function rustParts({ rustfmt, crates: chosen, generate }, crates) {
  const targets = chosen.allTargets ? ['--all-targets'] : ['--lib', '--bins']
  return {
    ...(rustfmt && { rustfmt: () => cargo('fmt', '--all', '--check') }),
    ...(generate && {
      'xtask generate --check': () =>
        cargo('run', '--release', '-p', 'xtask', '--', 'generate', '--check'),
    }),
    ...(chosen.reached.length && {
      // of the whole workspace, as in `npm test`: another choice of crates has other features, and
      // would be compiled anew; cargo checks only what has changed
      clippy: () => cargo('clippy', '--release', '--workspace', ...targets, '--', '-D', 'warnings'),
      'cargo test': () => rustTests(chosen, crates),
    }),
  }
}

/** Checks again only what depends on a changed file. */
const INCREMENTAL = ['--incremental', '--tsBuildInfoFile', '.cache/check.tsbuildinfo']

function typescriptParts({ biome, tsc, vitest: tests, pages }) {
  const browser = tests.browser.length > 0
  const needed = { addon: tests.addon || pages.length, wasm: browser, ts: tests.dist }
  const steps = Object.keys(needed).filter((step) => needed[step])
  const titles = pages.map((page) => page.replaceAll('.', '\\.')).join('|')
  const docs = ['test/docs/docs.test.ts', '-t', `${titles}|type-checks|the pages`]
  const part = (project, args) => async () => {
    await ensure(steps)
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
  await ensureReport()
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
