// Which checks `npm run check` chooses for a change.
import { describe, expect, it } from 'vitest'
import { type Crate, cratesOf, exportsOf, plan, testsNear } from '../../scripts/check/plan.mjs'

const core = ['golden', 'behaviour', 'combinations']
const crates: Crate[] = [
  { name: 'xt-core', folder: 'crates/core', needs: ['xt-kernels', 'xt-options'], tests: core },
  { name: 'xt-node', folder: 'crates/node', needs: ['xt-core'], tests: [] },
  { name: 'xt-kernels', folder: 'crates/kernels', needs: [], tests: [] },
  { name: 'xt-options', folder: 'crates/options', needs: [], tests: [] },
  { name: 'xt-bench', folder: 'bench', needs: ['xt-kernels'], tests: ['small'] },
]

const tests = [
  { path: 'test/api/schedule.test.ts', text: "import { cosine, AdamW } from 'x-transformers'" },
  { path: 'test/api/optimizers.test.ts', text: 'AdamW(); AdamW()' },
  { path: 'test/node/paths.test.ts', text: "import { p } from '../../ts/io/node/paths.js'" },
  { path: 'test/browser/memory.test.ts', text: 'memory()' },
  { path: 'test/package/columns.test.ts', text: '' },
  { path: 'test/package/packing.test.ts', text: "import { packed } from './packed.js'" },
  { path: 'test/package/imports.test.ts', text: '' },
]

const planned = (...changed: (string | [path: string, text: string])[]) => {
  const contents = changed.map((file) =>
    typeof file === 'string' ? { path: file, text: '' } : { path: file[0], text: file[1] },
  )
  return plan({ files: contents.map(({ path }) => path), contents, tests, crates })
}

const nothing = {
  rustfmt: false,
  crates: { changed: [], reached: [], programs: [], allTargets: false },
  generate: false,
  biome: [],
  tsc: false,
  vitest: { addon: false, dist: false, node: [], browser: [] },
  pages: [],
}

describe('the crates of a change', () => {
  it('are those that have changed, and all that depend on them', () => {
    expect(cratesOf(['crates/kernels/src/lib.rs'], crates)).toEqual({
      changed: ['xt-kernels'],
      reached: ['xt-kernels', 'xt-core', 'xt-node', 'xt-bench'],
    })
    expect(cratesOf(['crates/node/src/lib.rs'], crates).reached).toEqual(['xt-node'])
    expect(cratesOf(['docs/models.md', 'crates'], crates)).toEqual({ changed: [], reached: [] })
  })

  it('are all where the workspace has changed', () => {
    for (const file of ['Cargo.lock', 'Cargo.toml', '.cargo/config.toml', 'clippy.toml'])
      expect(cratesOf([file], crates).changed).toHaveLength(crates.length)
  })
})

describe('the test programs of a change', () => {
  const programs = (...files: string[]) =>
    plan({ files, contents: [], tests, crates }).crates.programs

  it('are the recorded cases wherever models may have changed', () => {
    expect(programs('crates/kernels/src/lib.rs')).toEqual(['golden'])
    expect(programs('crates/core/src/lib.rs')).toEqual(['golden'])
    expect(programs('crates/node/src/lib.rs')).toEqual([])
  })

  it('are linted where they have changed', () => {
    const linted = (file: string) =>
      plan({ files: [file], contents: [], tests, crates }).crates.allTargets
    expect(['crates/core/src/lib.rs', 'test/api/a.test.ts'].map(linted)).toEqual([false, false])
    const own = [
      'crates/core/tests/golden/main.rs',
      'crates/core/src/a/tests.rs',
      'bench/benches/a.rs',
    ]
    expect(own.map(linted)).toEqual([true, true, true])
  })

  it('are all of a crate, but long ones only where they have changed', () => {
    expect(programs('bench/src/lib.rs')).toEqual(['small'])
    expect(programs('crates/core/tests/behaviour/deep.rs')).toEqual(['golden', 'behaviour'])
  })
})

describe('the tests near a module', () => {
  it('are first those that import it', () => {
    const module = { path: 'ts/io/node/paths.ts', text: 'export function AdamW() {}' }
    expect(testsNear([module], tests)).toEqual([
      'test/node/paths.test.ts',
      'test/api/optimizers.test.ts',
      'test/api/schedule.test.ts',
    ])
  })

  it('are not those that have its name within another', () => {
    const module = { path: 'ts/x.ts', text: 'export const cos = 1' }
    expect(testsNear([module], tests)).toEqual([])
  })

  it('are few', () => {
    const many = Array.from({ length: 30 }, (_, i) => ({ path: `${i}.test.ts`, text: 'Tensor' }))
    const module = { path: 'ts/tensor/tensor.ts', text: 'export class Tensor {}' }
    expect(testsNear([module], many).length).toBeLessThan(10)
    const importing = many.map(({ path }) => ({ path, text: "import { x } from './helpers.js'" }))
    const helpers = { path: 'test/api/helpers.ts', text: '' }
    expect(testsNear([helpers], importing)).toHaveLength(12)
  })

  it('are none that take long', () => {
    const module = { path: 'ts/x.ts', text: 'export const AdamW = 1' }
    const slow = [
      'test/samples/training.test.ts',
      'test/docs/docs.test.ts',
      'test/api/fuzz.test.ts',
    ]
    expect(
      testsNear(
        [module],
        slow.map((path) => ({ path, text: 'AdamW' })),
      ),
    ).toEqual([])
  })

  it('are found by what a module exports', () => {
    const text = `
export async function* a() {}
export abstract class B {}
export const c = 1
export type D = 1
const e = 1
`
    expect(exportsOf(text)).toEqual(['a', 'B', 'c'])
  })
})

describe('the plan of a change', () => {
  it('has only the page for a page', () => {
    expect(planned('docs/models.md')).toEqual({ ...nothing, pages: ['docs/models.md'] })
  })

  it('has linter, types and tests for TypeScript', () => {
    expect(planned(['ts/train/schedules.ts', 'export const cosine = 1'])).toEqual({
      ...nothing,
      biome: ['ts/train/schedules.ts'],
      tsc: true,
      vitest: {
        addon: true,
        dist: false,
        node: [
          'test/package/columns.test.ts',
          'test/package/imports.test.ts',
          'test/api/schedule.test.ts',
        ],
        browser: [],
      },
    })
  })

  it('has the tests that have changed, each in its project', () => {
    const { vitest } = planned('test/browser/memory.test.ts', 'test/node/paths.test.ts')
    expect(vitest.browser).toEqual(['test/browser/memory.test.ts'])
    expect(vitest.node).toContain('test/node/paths.test.ts')
  })

  it('builds addon and package for tests that use them', () => {
    expect(planned('test/package/columns.test.ts').vitest.addon).toBe(false)
    expect(planned('test/node/paths.test.ts').vitest.addon).toBe(true)
    expect(planned('test/package/packing.test.ts').vitest.dist).toBe(true)
    expect(planned('test/node/paths.test.ts').vitest.dist).toBe(false)
  })

  it('has no types for a script, and nothing of Rust', () => {
    const chosen = planned('scripts/pack.mjs')
    expect(chosen).toMatchObject({ tsc: false, rustfmt: false, biome: ['scripts/pack.mjs'] })
    expect(chosen.crates.reached).toEqual([])
  })

  it('has formatting, crates and generated files for Rust', () => {
    const chosen = planned('crates/options/src/lib.rs')
    expect(chosen).toMatchObject({ rustfmt: true, generate: true, biome: [], tsc: false })
    expect(chosen.crates.reached).toEqual(['xt-options', 'xt-core', 'xt-node'])
    expect(planned('crates/kernels/src/ops/gru/gru.cu')).toMatchObject({
      rustfmt: false,
      generate: false,
      crates: { changed: ['xt-kernels'] },
    })
  })

  it('leaves out files that were deleted', () => {
    const files = ['ts/old.ts', 'docs/old.md', 'test/api/old.test.ts']
    const chosen = plan({ files, contents: [], tests, crates })
    expect(chosen).toMatchObject({ biome: [], tsc: true, pages: [] })
    expect(chosen.vitest.node).not.toContain('test/api/old.test.ts')
  })
})
