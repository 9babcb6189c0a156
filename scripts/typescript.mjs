// Compiles the TypeScript when it is missing or stale: dist/cjs for Node, dist/edge for edge
// runtimes, dist/esm for everything else, dist/cli.mjs, dist/commands for the commands of
// package.json; and puts the WebAssembly modules, where they were built, beside it.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { bundle, bundleCommand, bundleEdge } from './bundle.mjs'
import { bin, Failure, hashOf, readText, root, run, say } from './lib.mjs'
import { ensureReport } from './report.mjs'
import { TRAINING_EXAMPLES } from './training-examples.mjs'

const SOURCES = [
  'ts',
  'packages',
  'apps',
  'scripts/command.ts',
  'scripts/parity.ts',
  'scripts/replay.ts',
  'test/parity',
  ...TRAINING_EXAMPLES.map((name) => `examples/${name}/src`),
  'tsconfig.json',
  'tsconfig.esm.json',
  'tsconfig.cjs.json',
  'tsconfig.edge.json',
  'tsconfig.commands.json',
  'package.json',
  'package-lock.json',
  'scripts/bundle.mjs',
  'scripts/licences.mjs',
  'scripts/typescript.mjs',
]

/** What Node imports: name in dist, and the CommonJS module behind it. */
const ENTRIES = {
  node: 'index',
  wasm: 'wasm',
  worker: 'worker',
  train: 'train/index',
  data: 'data/index',
  tokenizers: 'tokenizers/index',
  report: 'report/index',
  huggingface: 'huggingface/index',
}

/** Those within a folder of ts/. */
const PARTS = Object.values(ENTRIES).filter((entry) => entry.includes('/'))

const PKG = join(root, 'ts/wasm/pkg')

const dist = (path) => join(root, 'dist', path)

async function compile(project) {
  const { code } = await run(process.execPath, [
    bin('typescript', 'tsc'),
    '-p',
    `tsconfig.${project}.json`,
  ])
  if (code !== 0) throw new Failure(`The TypeScript did not compile (tsconfig.${project}.json).`)
}

/** The names that an entry exports as values. */
async function exportedNames(entry) {
  const { default: ts } = await import('typescript')
  const index = dist(`cjs/${entry}.d.ts`)
  const program = ts.createProgram([index], {
    module: ts.ModuleKind.CommonJS,
    skipLibCheck: true,
    noLib: true,
  })
  const checker = program.getTypeChecker()
  const isValue = (symbol) => {
    const typeOnly = symbol.declarations?.some(
      (d) => ts.isExportSpecifier(d) && (d.isTypeOnly || d.parent.parent.isTypeOnly),
    )
    if (typeOnly) return false
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
    return (target.flags & ts.SymbolFlags.Value) !== 0
  }
  const module = checker.getSymbolAtLocation(program.getSourceFile(index))
  return checker
    .getExportsOfModule(module)
    .filter(isValue)
    .map((symbol) => symbol.name)
}

/** Ends a module that exports an entry's names from `all`. */
const exportsOf = (names, all) =>
  `export const {\n${names.map((name) => `  ${name},\n`).join('')}} = ${all}\n`

/**
 * `import` in Node gets the objects that `require` gets, so that every class exists once. An
 * `import` of CommonJS would have Node search the text for names first, which takes some
 * milliseconds; bundlers, though, follow nothing else, so they have modules of their own (the
 * condition `module`). Tracers follow `createRequire` in the form here.
 */
async function writeEntries() {
  writeFileSync(dist('cjs/package.json'), `${JSON.stringify({ type: 'commonjs' }, null, 2)}\n`)
  for (const [name, entry] of Object.entries(ENTRIES)) {
    const names = (await exportedNames(entry)).sort()
    const own =
      "import { createRequire } from 'node:module'\n\nconst require = createRequire(import.meta.url)\n"
    writeFileSync(dist(`${name}.mjs`), own + exportsOf(names, `require('./cjs/${entry}.js')`))
    writeFileSync(dist(`${name}.d.mts`), `export * from './cjs/${entry}.js'\n`)
    // which of the two a bundler takes for the module is its choice
    const bundled = `import * as all from './cjs/${entry}.js'\n\n${exportsOf(names, 'all.default ?? all')}`
    writeFileSync(dist(`${name}.bundle.mjs`), bundled)
  }
}

function* filesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesIn(path)
    else yield path
  }
}

/**
 * What stands for `#native`, `#files` and `#worker` in each build. Paths, since a page reads no
 * package.json, and a folder's own hides the root's.
 */
const LINKS = {
  cjs: {
    '#native': 'native/native.node.js',
    '#files': 'io/files.node.js',
    '#worker': 'worker/start.node.js',
  },
  esm: {
    '#native': 'native/native.browser.js',
    '#files': 'io/files.browser.js',
    '#worker': 'worker/start.browser.js',
  },
}

function resolveLinks(build) {
  for (const path of filesIn(dist(build))) {
    if (!/\.(js|d\.ts)$/.test(path)) continue
    const text = readFileSync(path, 'utf8')
    const linked = text.replace(/(['"])(#native|#files|#worker)\1/g, (_, quote, name) => {
      const to = relative(dirname(path), dist(`${build}/${LINKS[build][name]}`)).replaceAll(
        '\\',
        '/',
      )
      return `${quote}${to.startsWith('.') ? to : `./${to}`}${quote}`
    })
    if (linked !== text) writeFileSync(path, linked)
  }
}

/**
 * Copies the modules that `npm run build:wasm` has made; Node gets their JavaScript as CommonJS,
 * edge runtimes in a file with all else.
 */
async function placeWasm() {
  if (!existsSync(PKG)) return
  mkdirSync(dist('esm/wasm/pkg'), { recursive: true })
  cpSync(PKG, dist('esm/wasm/pkg'), { recursive: true, filter: (path) => !path.endsWith('.stamp') })
  const { default: ts } = await import('typescript')
  const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 }
  mkdirSync(dist('cjs/wasm/pkg'), { recursive: true })
  const glue = readFileSync(join(PKG, 'single.js'), 'utf8')
  const { outputText } = ts.transpileModule(glue, { compilerOptions: options })
  writeFileSync(dist('cjs/wasm/pkg/single.js'), outputText)
  await bundleEdge(PARTS, dist('edge'))
}

/** The command, its presets, and the schema of what it reads. */
async function writeCommand() {
  await bundleCommand(dist(''))
  cpSync(join(root, 'packages/cli/presets'), dist('presets'), { recursive: true })
  const { code, out } = await run(process.execPath, [dist('commands/packages/cli/schema.js')], {
    stdout: 'capture',
  })
  if (code !== 0) throw new Failure('The schema of configurations could not be made.')
  writeFileSync(dist('train.schema.json'), out)
}

export async function ensureTypeScript() {
  await ensureReport()
  const stamp = dist('.stamp')
  const modules = existsSync(PKG) ? readdirSync(PKG).map((name) => join('ts/wasm/pkg', name)) : []
  const hash = hashOf([...SOURCES, ...modules])
  if (readText(stamp) === hash) return
  say('Compiling the TypeScript ...')
  rmSync(dist(''), { recursive: true, force: true })
  await Promise.all([compile('esm'), compile('cjs')])
  for (const build of Object.keys(LINKS)) resolveLinks(build)
  await bundle(Object.values(ENTRIES), dist('cjs'))
  await writeEntries()
  await placeWasm()
  await compile('commands')
  await writeCommand()
  writeFileSync(stamp, hash)
}
