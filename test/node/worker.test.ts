import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import ts from 'typescript'
import { afterAll, describe, expect, it } from 'vitest'
import { info } from 'x-transformers'
import type { AutoregressiveWrapper } from 'x-transformers/worker'
import { connect } from '../../ts/worker/spawn.js'
import { start } from '../../ts/worker/start.node.js'
import { ids, smallModel } from '../worker/helpers.js'

const root = resolve(import.meta.dirname, '../..')

const parse = (path: string) =>
  ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true)

/** The module that a statement imports at runtime; null for none, or types only. */
function importOf(statement: ts.Statement): string | null {
  const text = (from: ts.Expression) => (from as ts.StringLiteral).text
  const real = (names: readonly ts.ImportOrExportSpecifier[]) =>
    names.some(({ isTypeOnly }) => !isTypeOnly)
  if (ts.isImportDeclaration(statement)) {
    const { importClause: clause, moduleSpecifier } = statement
    const names = clause?.namedBindings
    const only =
      clause &&
      (clause.phaseModifier || (names && ts.isNamedImports(names) && !real(names.elements)))
    return only ? null : text(moduleSpecifier)
  }
  if (!ts.isExportDeclaration(statement) || !statement.moduleSpecifier || statement.isTypeOnly)
    return null
  const { exportClause: names, moduleSpecifier } = statement
  return names && ts.isNamedExports(names) && !real(names.elements) ? null : text(moduleSpecifier)
}

/** The files that a file needs at runtime, recursively; built files have no source. */
function graph(path: string, found = new Map<string, ts.SourceFile | null>()) {
  const name = relative(root, path)
  if (found.has(name)) return found
  const source = existsSync(path) ? parse(path) : null
  found.set(name, source)
  for (const imported of source?.statements.map(importOf) ?? []) {
    if (imported?.startsWith('.'))
      graph(join(dirname(path), imported.replace(/\.js$/, '.ts')), found)
    else if (imported) found.set(imported, null)
  }
  return found
}

const inFunction = (node: ts.Node): boolean =>
  Boolean(node.parent) && (ts.isFunctionLike(node.parent) || inFunction(node.parent))

const filesOf = (...entries: string[]) =>
  new Map(entries.flatMap((entry) => [...graph(join(root, entry))]))

describe('the entry for a worker', () => {
  it('imports nothing of the library itself on the page', () => {
    const page = [...filesOf('ts/worker.ts', 'ts/worker/start.browser.ts').keys()]
    const others = page.filter((name) => !name.startsWith('ts/worker'))
    const small = [
      ...['brand', 'checks', 'control', 'errors', 'module/matrices', 'module/patterns'],
      ...['native/json', 'promises', 'symbols'],
      ...[
        'tensor/data',
        'tensor/dtype',
        'train/ema-options',
        'train/engine',
        'train/lora-options',
        'train/step-options',
      ],
      ...['train/token-count', 'version'],
    ].map((name) => `ts/${name}.ts`)
    expect(others.sort()).toEqual(['#worker', ...small])
    expect(page.filter((name) => name.startsWith('ts/worker/host'))).toEqual([])
  })

  it('starts a script that every bundler can turn into a classic worker', () => {
    const files = filesOf('ts/worker/entry.ts')
    expect([...files.keys()]).toContain('ts/worker/host/serve.ts')
    for (const [name, source] of files) {
      const visit = (node: ts.Node): void => {
        const dynamic =
          ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
        expect(dynamic, `${name} imports when it runs`).toBe(false)
        const waits = ts.isAwaitExpression(node) && !inFunction(node)
        expect(waits, `${name} waits when it is loaded`).toBe(false)
        ts.forEachChild(node, visit)
      }
      if (source) visit(source)
    }
  })
})

describe('a worker in Node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('uses the library of the process', async () => {
    const x = await connect(start(), { threads: 'auto' })
    expect(await x.info()).toEqual(info())
    x.terminate()
    await expect(x.info()).rejects.toMatchObject({ code: 'terminated' })
    expect(() => start('worker.js')).toThrow(/for browsers/)
  })

  it('reads and writes files', async () => {
    const x = await connect(start())
    const model = smallModel(x)
    const path = join(folder, 'model.safetensors')
    await model.save(path)
    const loaded = await x.load<AutoregressiveWrapper>(path)
    expect((await loaded.forward(ids(1, 9))).item()).toBe((await model.forward(ids(1, 9))).item())
    const optimizer = new x.AdamW(model)
    await optimizer.save(path)
    await optimizer.load(path)
    await expect(x.load(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'file' })
    x.terminate()
  })
})
