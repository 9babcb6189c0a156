// Compiler errors of a program with the types of the tarball: with the oldest supported TypeScript,
// and the one of this repository.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, parse } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { SLOW } from '../slow.js'
import { bin, node, packed, root } from './packed.js'

let folder: string
beforeAll(async () => {
  folder = (await packed()).native
}, 300_000)

/** docs/bundlers.md names the oldest one. */
const COMPILERS = {
  '5.2': join(root, 'test/package/least/node_modules/typescript/bin/tsc'),
  current: bin('typescript', 'tsc'),
}

/**
 * Each target and each module system; AbortSignal, Blob and streams from the types of Node or of
 * the DOM.
 */
const PROJECTS: Project[] = [
  { target: 'es2020', module: 'node16', dom: false, types: ['node'] },
  { target: 'es2022', module: 'bundler', dom: true, types: [] },
]

const SLOW_PROJECTS: Project[] = [
  { target: 'es2020', module: 'bundler', dom: true, types: [] },
  { target: 'es2021', module: 'node16', dom: true, types: [] },
  { target: 'es2022', module: 'node16', dom: false, types: ['node'] },
  { target: 'es2022', module: 'node10', dom: false, types: ['node'] },
]

interface Project {
  module: string
  dom: boolean
  types: string[]
  target: string
}

/** Compiles the program, and returns the errors. */
async function compile(
  compiler: string,
  name: string,
  project: Project,
  exact = false,
): Promise<string> {
  const { module, dom, types, target } = project
  const at = join(folder, `types-${name}`.replaceAll(/\W+/g, '-'))
  mkdirSync(at)
  const files = (module === 'node16' ? ['mts', 'cts'] : ['ts']).flatMap((end) => [
    `program.${end}`,
    `exact.${end}`,
  ])
  for (const file of files)
    copyFileSync(join(root, `test/package/apps/${parse(file).name}.ts`), join(at, file))
  const compilerOptions = {
    target,
    lib: dom ? [target, 'dom'] : [target],
    module: { node16: 'node16', node10: 'commonjs', bundler: 'esnext' }[module],
    // it resolves without `exports`; newer compilers report it as deprecated
    ...(module === 'node10' && compiler === COMPILERS.current && { ignoreDeprecations: '6.0' }),
    moduleResolution: module,
    types,
    typeRoots: [join(root, 'node_modules/@types')],
    strict: true,
    exactOptionalPropertyTypes: exact,
    noEmit: true,
    skipLibCheck: false,
  }
  writeFileSync(join(at, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  return await node(at, compiler, '-p', '.')
}

describe.each(Object.entries(COMPILERS))('TypeScript %s', (version, compiler) => {
  it.for([...PROJECTS, ...(SLOW ? SLOW_PROJECTS : [])])(
    'reads the types: $target, $module, DOM $dom',
    async (project) => {
      const { target, module, dom } = project
      expect(
        await compile(compiler, `${version}-${target}-${module}-${dom ? 'dom' : 'node'}`, project),
      ).toBe('')
    },
  )

  it('accepts undefined for absent options, with exactOptionalPropertyTypes', async () => {
    const project = { module: 'node16', dom: false, types: ['node'], target: 'es2022' }
    expect(await compile(compiler, `${version}-exact`, project, true)).toBe('')
  })

  if (SLOW || version === 'current')
    it('requires the types of Node or of the DOM, and nothing else', async () => {
      const project = { module: 'node16', dom: false, types: [], target: 'es2022' }
      const { message } = (await compile(compiler, `${version}-neither`, project).catch(
        (error) => error,
      )) as Error
      const missing = [...message.matchAll(/error (TS\d+): (?:Cannot find name '(\w+)')?/g)]
      const names = missing.map(([, code, name]) => (name === undefined ? code : name))
      // `console` is declared by the program
      expect([...new Set(names)].sort()).toEqual([
        'AbortSignal',
        'Blob',
        'ReadableStream',
        'Response',
        'URL',
        'WritableStream',
        'console',
      ])
    })
})
