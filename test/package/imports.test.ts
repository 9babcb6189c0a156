// What may import what in ts/ (ARCHITECTURE.md, "TypeScript"): layers, and no cycles, types
// included.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix, resolve } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../..')

/** The platform-specific file for each link. */
const LINKS: Record<string, string[]> = {
  '#native': ['native/native.node.ts', 'native/native.browser.ts', 'native/native.edge.ts'],
  '#files': ['io/files.node.ts', 'io/files.browser.ts'],
  '#worker': ['worker/start.node.ts', 'worker/start.browser.ts'],
}

/** Files and folders, lowest first: each may import itself and earlier ones. */
const LAYERS = [
  // files at the root that are no entries
  '.',
  'native/types.ts',
  'native/methods.gen.ts',
  'native/native.ts',
  'wasm',
  'native',
  'tensor',
  'io',
  'module',
  'models',
  'tokenizers',
  'data',
  'train',
  'report',
  'huggingface',
  'index.ts',
  'worker',
  'index.browser.ts',
  'wasm.ts',
  'worker.ts',
]

/** The imports of each file, types included; built files have no source and are left out. */
type Graph = ReadonlyMap<string, readonly string[]>

/** Paths in a folder, with `/`. */
const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) =>
    path.replaceAll('\\', '/'),
  )

function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, 'ts', file), 'utf8'))
  return importedFiles.flatMap(({ fileName }) => {
    if (!fileName.startsWith('.')) return LINKS[fileName] ?? []
    const path = posix.join(posix.dirname(file), fileName).replace(/\.js$/, '.ts')
    return existsSync(join(root, 'ts', path)) && path.endsWith('.ts') ? [path] : []
  })
}

function sources(): Graph {
  const files = filesIn('ts').filter(
    (path) => path.endsWith('.ts') && !path.startsWith('wasm/pkg/'),
  )
  return new Map(files.map((file) => [file, importsOf(file)]))
}

/** One cycle, as files that import each other; null if there is none. */
function cycleIn(graph: Graph): string[] | null {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return null
    path.push(file)
    for (const imported of graph.get(file) ?? []) {
      const cycle = visit(imported)
      if (cycle) return cycle
    }
    path.pop()
    done.add(file)
    return null
  }
  for (const file of graph.keys()) {
    const cycle = visit(file)
    if (cycle) return cycle
  }
  return null
}

/** The index of a file in {@link LAYERS}: that of the longest entry that is or contains it. */
function layerOf(file: string): number {
  for (let path = file; ; path = posix.dirname(path)) {
    const layer = LAYERS.indexOf(path)
    if (layer >= 0 && (path !== '.' || !file.includes('/'))) return layer
    if (path === '.') throw new Error(`ts/${file} is in no layer`)
  }
}

/** The imports of a higher layer. */
const upwardImports = (graph: Graph): string[] =>
  [...graph].flatMap(([file, imported]) =>
    imported
      .filter((other) => layerOf(other) > layerOf(file))
      .map((other) => `${file} imports ${other}`),
  )

describe('the sources', () => {
  const graph = sources()

  it('have no import cycles', () => {
    expect(graph.size).toBeGreaterThan(100)
    expect(cycleIn(graph)).toBeNull()
  })

  it('import nothing from a higher layer', () => {
    expect(upwardImports(graph)).toEqual([])
  })

  it('have at most twelve files at the root', () => {
    expect([...graph.keys()].filter((file) => !file.includes('/')).length).toBeLessThanOrEqual(12)
  })
})

describe('the check', () => {
  it('finds a cycle through several files, and through a link', () => {
    const graph = new Map([
      ['a.ts', ['b.ts']],
      ['b.ts', ['c.ts', 'd.ts']],
      ['c.ts', []],
      ['d.ts', ['b.ts']],
    ])
    expect(cycleIn(graph)).toEqual(['b.ts', 'd.ts', 'b.ts'])
    expect(importsOf('io/sources.ts')).toEqual(expect.arrayContaining(LINKS['#files'] as string[]))
  })

  it('includes imports of types', () => {
    expect(importsOf('io/platform.ts')).toContain('io/inputs.ts')
  })

  it('finds an import from a higher layer', () => {
    const graph = new Map([
      ['tensor/tensor.ts', ['module/module.ts', 'errors.ts']],
      ['wasm/start.ts', ['native/native.ts', 'native/json.ts']],
      ['worker/host/call.ts', ['worker.ts', 'worker/protocol.ts', 'index.ts']],
    ])
    expect(upwardImports(graph)).toEqual([
      'tensor/tensor.ts imports module/module.ts',
      'wasm/start.ts imports native/json.ts',
      'worker/host/call.ts imports worker.ts',
    ])
  })
})
