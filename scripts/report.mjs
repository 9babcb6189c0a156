// The page of reports (packages/report) as text in a module, ts/report/page.gen.ts, which the
// compiler and the tests take like any other.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, hashOf, readText, root } from './lib.mjs'

const PAGE = 'ts/report/page.gen.ts'
const SOURCES = ['packages/report', 'package-lock.json', 'scripts/report.mjs']

/** Licences that allow to be bundled, as long as their text comes along. */
const ALLOWED = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause']

/** What the page has of a package, and the text of its licence. */
function noticeOf(name) {
  const folder = join(root, 'node_modules', name)
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  if (!ALLOWED.includes(license))
    throw new Failure(`${name} has the licence ${license}: it cannot be part of a report.`)
  const text = readFileSync(join(folder, 'LICENSE'), 'utf8').trim()
  return `This page contains ${name} ${version}.\n\n${text}`
}

/** The packages that files are of. */
const packagesOf = (files) => [
  ...new Set(files.flatMap((file) => file.match(/node_modules\/((@[^/]+\/)?[^/]+)\//)?.[1] ?? [])),
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
    NOTICE: packagesOf(Object.keys(metafile.inputs)).map(noticeOf).join('\n\n'),
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
