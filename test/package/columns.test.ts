// Lines have at most 100 columns. Biome wraps code; this also checks comments, which it does not
// wrap.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const COLUMNS = 100
const HEAD = ', async () => {'

/** Generated or recorded. */
const LEFT_OUT = /\.gen\.ts$|^ts\/wasm\/pkg\//

const sources = ['ts', 'packages', 'apps', 'scripts', 'test', 'examples'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => `${folder}/${path.replaceAll('\\', '/')}`)
    .filter(
      (path) =>
        /\.m?[jt]s$/.test(path) &&
        !LEFT_OUT.test(path) &&
        !/\/(node_modules|dist|\.next)\//.test(path),
    ),
)

/** String and regular expression literals, which cannot be wrapped without changing them. */
function literalsOf(file: ts.SourceFile): ts.TextRange[] {
  const found: ts.TextRange[] = []
  const visit = (node: ts.Node): void => {
    const plain = ts.isStringLiteralLike(node) || ts.isRegularExpressionLiteral(node)
    if (plain || ts.isTemplateExpression(node))
      found.push({ pos: node.getStart(file), end: node.end })
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

/** The numbers of the lines that are too long, except because of a literal. */
function longLines(path: string, text: string): number[] {
  const lines = text.split('\n')
  if (lines.every((line) => line.length <= COLUMNS)) return []
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const literals = literalsOf(file)
  return lines.flatMap((line, i) => {
    if (line.length <= COLUMNS) return []
    const edge = file.getPositionOfLineAndCharacter(i, COLUMNS)
    // Biome keeps the name of a test and the head of its function on one line
    const reaches = ({ pos, end }: ts.TextRange) => pos < edge && end > edge - HEAD.length
    return literals.some(reaches) ? [] : [i + 1]
  })
}

it('no line has more than 100 columns', () => {
  expect(sources.length).toBeGreaterThan(250)
  const long = sources.flatMap((path) =>
    longLines(path, readFileSync(join(root, path), 'utf8')).map((line) => `${path}:${line}`),
  )
  expect(long).toEqual([])
})

it('finds long comments and long code, and allows long strings', () => {
  const long = 'long '.repeat(30)
  const text = [
    `// ${long}`,
    `const a = '${long}'`,
    `/** ${long} */`,
    `f(\`${long}\${a}\`)`,
    `const b = [${'1, '.repeat(40)}]`,
    `const c = 'x' // ${long}`,
  ]
  expect(longLines('a.ts', text.join('\n'))).toEqual([1, 3, 5, 6])
})
