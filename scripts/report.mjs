// The page of reports (packages/report) as text in a module, ts/report/page.gen.ts, which the
// compiler and the tests take like any other.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashOf, readText, root } from './lib.mjs'
import { licencesOf } from './licences.mjs'

const PAGE = 'ts/report/page.gen.ts'
const SOURCES = [
  'packages/report',
  'package-lock.json',
  'scripts/licences.mjs',
  'scripts/report.mjs',
]

async function build() {
  const esbuild = await import('esbuild')
  const { outputFiles, metafile } = await esbuild.build({
    entryPoints: [join(root, 'packages/report/src/main.ts')],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    outdir: join(root, 'dist/report'),
    write: false,
    metafile: true,
    absWorkingDir: root,
    tsconfigRaw: {},
    logLevel: 'warning',
  })
  const textOf = (end) => outputFiles.find(({ path }) => path.endsWith(end)).text.trim()
  return {
    // it would end the element that the script is in
    SCRIPT: textOf('.js').replaceAll('</script', '<\\/script'),
    STYLE: textOf('.css'),
    NOTICE: licencesOf(Object.keys(metafile.inputs), 'This page'),
  }
}

/** Makes the module where it is missing or stale. */
export async function ensureReport() {
  const head = `// Built by scripts/report.mjs of packages/report, ${hashOf(SOURCES)}\n`
  if (existsSync(join(root, PAGE)) && readText(join(root, PAGE)).startsWith(head)) return
  const texts = Object.entries(await build()).map(
    ([name, text]) => `export const ${name}: string = ${JSON.stringify(text)}\n`,
  )
  writeFileSync(join(root, PAGE), [head, ...texts].join('\n'))
}
