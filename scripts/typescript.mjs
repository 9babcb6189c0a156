// Compiles the TypeScript when it is missing or stale: dist/cjs for Node, dist/esm for everything else, dist/cli for the commands.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bin, Failure, hashOf, readText, root, run, say } from './lib.mjs'

const SOURCES = [
  'ts',
  'test/parity',
  'tsconfig.json',
  'tsconfig.esm.json',
  'tsconfig.cjs.json',
  'tsconfig.cli.json',
  'package.json',
  'package-lock.json',
  'scripts/typescript.mjs',
]

const dist = (path) => join(root, 'dist', path)

async function compile(project) {
  const { code } = await run(process.execPath, [bin('typescript', 'tsc'), '-p', `tsconfig.${project}.json`])
  if (code !== 0) throw new Failure(`The TypeScript did not compile (tsconfig.${project}.json).`)
}

/** The names that the package exports as values. */
async function exportedNames() {
  const { default: ts } = await import('typescript')
  const index = dist('cjs/index.d.ts')
  const program = ts.createProgram([index], { module: ts.ModuleKind.CommonJS, skipLibCheck: true, noLib: true })
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

/** `import` in Node gets the objects that `require` gets, so that every class exists once. */
async function writeEntries() {
  // A package.json of its own makes the folder CommonJS, and then `#native` is looked up in it.
  const imports = { '#native': './native.node.js' }
  writeFileSync(dist('cjs/package.json'), `${JSON.stringify({ type: 'commonjs', imports }, null, 2)}\n`)
  const names = (await exportedNames()).sort()
  writeFileSync(
    dist('node.mjs'),
    `import all from './cjs/index.js'\n\nexport const {\n${names.map((name) => `  ${name},\n`).join('')}} = all\n`,
  )
  writeFileSync(dist('node.d.mts'), "export * from './cjs/index.js'\n")
}

export async function ensureTypeScript() {
  const stamp = dist('.stamp')
  const hash = hashOf(SOURCES)
  if (readText(stamp) === hash) return
  say('Compiling the TypeScript ...')
  rmSync(dist(''), { recursive: true, force: true })
  await Promise.all([compile('esm'), compile('cjs')])
  await writeEntries()
  await compile('cli')
  writeFileSync(stamp, hash)
}
