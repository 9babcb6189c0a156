// Which checks a change needs: `npm run check`. Nothing here reads a file or runs a program.

/** Paths of TypeScript and scripts that tests exercise. */
const CODE = /\.(m?[jt]s|cjs)$/
const BIOME = /\.(m?[jt]s|cjs|json|css|html)$/
const TYPES =
  /^(ts|packages|apps|scripts|test)\/.*\.(m?ts)$|^(tsconfig.*|package|package-lock)\.json$/
const WORKSPACE = /^(Cargo\.(toml|lock)|clippy\.toml|\.cargo\/.*)$/

/** Tests that read many files and take a second. */
const ALWAYS = {
  'test/package/columns.test.ts': /^(ts|packages|apps|scripts|test)\/.*\.m?[jt]s$/,
  'test/package/imports.test.ts': /^ts\//,
  'test/package/workflows.test.ts': /^(\.github\/workflows\/|package\.json$)/,
  'test/package/versions.test.ts': /^(package(-lock)?\.json|CHANGELOG\.md|Cargo\.(toml|lock))$/,
  'test/package/platforms.test.ts': /^ts\/native\//,
  'test/docs/added-option.test.ts': /^(CONTRIBUTING\.md|crates\/|test\/golden\/)/,
}

/** At most so many tests near to a change, and so many of them only because of names. */
const MOST = 12
const NEAR = 6

/** Take half a minute or have little to do with one module: `npm test` runs them. */
const SLOW = [
  /^test\/(docs|samples)\//,
  /^test\/package\/(bundlers|deployed|types)\./,
  /^test\/node\/(cuda|emulator|environments|equality|memory|out-of-memory)\./,
  /^test\/(api|worker)\/(fuzz|scaling)\./,
]

/** Crates that have changed, and all that depend on them; every crate where the workspace did. */
export function cratesOf(files, crates) {
  const whole = files.some((file) => WORKSPACE.test(file))
  const own = crates.filter(({ folder }) => files.some((file) => file.startsWith(`${folder}/`)))
  const changed = whole ? crates : own
  const reached = new Set(changed.map(({ name }) => name))
  // in any order of the list: again, until nothing is added
  for (let size = -1; size !== reached.size; ) {
    size = reached.size
    for (const { name, needs } of crates)
      if (needs.some((other) => reached.has(other))) reached.add(name)
  }
  return { changed: changed.map(({ name }) => name), reached: [...reached] }
}

/** Programs of tests that take long to compile or to run. */
const LONG = { 'xt-core': ['behaviour', 'combinations', 'device'] }

/**
 * The test programs beside the unit tests: those of the changed crates, except long ones whose own
 * files have not changed; and the recorded cases wherever the models may have changed.
 */
export function programsOf(files, crates, { changed, reached }) {
  const own = crates.filter(({ name }) => changed.includes(name))
  const names = own.flatMap(({ name, folder, tests }) =>
    tests.filter(
      (test) =>
        !LONG[name]?.includes(test) ||
        files.some((file) => file.startsWith(`${folder}/tests/${test}/`)),
    ),
  )
  return [...new Set([...names, ...(reached.includes('xt-core') ? ['golden'] : [])])]
}

const escaped = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** The names that a module exports where they are declared. */
export const exportsOf = (text) =>
  Array.from(
    text.matchAll(/^export (?:async |abstract )*(?:function\*?|class|const|let|enum) (\w+)/gm),
    ([, name]) => name,
  )

/** How near a test is to a module: it imports it (Infinity), or how often it has its names. */
function nearness({ path, text }, test) {
  const name = path
    .split('/')
    .at(-1)
    .replace(/\.m?[jt]s$/, '')
  const imports = new RegExp(`['"][^'"\\n]*/${escaped(name)}\\.m?[jt]s['"]`)
  if (imports.test(test.text)) return Infinity
  const names = exportsOf(text)
  if (!path.startsWith('ts/') || !names.length) return 0
  return test.text.match(new RegExp(`\\b(${names.join('|')})\\b`, 'g'))?.length ?? 0
}

/**
 * The tests of changed modules: those that import one of them, and of those that use what it
 * exports, the ones that do so most.
 */
export function testsNear(modules, tests) {
  const quick = tests.filter(({ path }) => !SLOW.some((pattern) => pattern.test(path)))
  const scored = quick.map((test) => ({
    path: test.path,
    near: Math.max(0, ...modules.map((module) => nearness(module, test))),
  }))
  const importing = scored.filter(({ near }) => near === Infinity)
  const using = scored.filter(({ near }) => near > 0 && near < Infinity)
  using.sort((a, b) => b.near - a.near || a.path.localeCompare(b.path))
  return [...importing, ...using.slice(0, NEAR)].slice(0, MOST).map(({ path }) => path)
}

const isTest = (path) => path.endsWith('.test.ts')

function vitestFiles(files, contents, tests) {
  const named = Object.entries(ALWAYS).filter(([, pattern]) => files.some((f) => pattern.test(f)))
  const modules = contents.filter(({ path }) => CODE.test(path) && !isTest(path))
  const near = testsNear(modules, tests)
  const all = [...named.map(([path]) => path), ...contents.map(({ path }) => path), ...near]
  const known = new Set(tests.map(({ path }) => path))
  return [...new Set(all)].filter((path) => isTest(path) && known.has(path))
}

/** Whether one of these tests uses what is built of the TypeScript. */
const needDist = (paths, tests) =>
  paths.some((path) => path.startsWith('test/cli/')) ||
  tests.some(({ path, text }) => paths.includes(path) && text.includes("from './packed.js'"))

/**
 * What to check.
 *
 * @param change `{ files, contents, tests, crates }`: the changed paths; those that exist, with
 *   their texts; all tests, with theirs; the crates, `{ name, folder, needs, tests }`
 */
export function plan({ files, contents, tests, crates }) {
  const rust = cratesOf(files, crates)
  const some = (pattern) => files.some((file) => pattern.test(file))
  const vitest = vitestFiles(files, contents, tests)
  const pages = files.filter((file) => /^(docs\/)?[^/]+\.md$/.test(file))
  return {
    rustfmt: some(/\.rs$/),
    crates: {
      ...rust,
      programs: programsOf(files, crates, rust),
      // tests have as much code as the library: they are linted where they have changed
      allTargets: some(/^(crates|bench)\/.*\b(tests?|examples|benches)\b/),
    },
    generate: some(/^crates\/(options|bindings|xtask)\/|\.gen\.ts$|^docs\/options\.md$/),
    biome: contents.map(({ path }) => path).filter((path) => BIOME.test(path)),
    tsc: some(TYPES),
    vitest: {
      addon: vitest.some((path) => !(path in ALWAYS)),
      dist: needDist(vitest, tests),
      node: vitest.filter((path) => !path.startsWith('test/browser/')),
      browser: vitest.filter((path) => path.startsWith('test/browser/')),
    },
    pages: pages.filter((page) => contents.some(({ path }) => path === page)),
  }
}
