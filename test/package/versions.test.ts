// One version everywhere: the package, the platform packages, the crates and both lock files.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  FILES_WITH_VERSION,
  versionsIn,
  withPreface,
  withVersion,
} from '../../scripts/release/versions.mjs'
import { packed, root } from './packed.js'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { version } = JSON.parse(read('package.json')) as { version: string }

const crates = readdirSync(join(root, 'crates')).map(
  (folder) => read(`crates/${folder}/Cargo.toml`).match(/^name = "(.+)"/m)?.[1] as string,
)

describe('the version', () => {
  it('is the same in all files', () => {
    for (const file of FILES_WITH_VERSION) {
      const found = versionsIn(file, read(file))
      expect(found.length).toBeGreaterThanOrEqual(2)
      expect(found.filter(([, own]) => own !== version)).toEqual([])
    }
  })

  it('is found for every crate, and for each that is published', () => {
    const names = (file: string) => versionsIn(file, read(file)).map(([name]) => name)
    expect(names('Cargo.lock')).toEqual(expect.arrayContaining([...crates, 'xt-bench']))
    const published = ['xt-options', 'xt-macros', 'xt-kernels', 'xt-autograd', 'xt-core']
    expect(names('Cargo.toml')).toEqual(['workspace', ...published])
  })

  it('is set in all files, and nothing else changes', () => {
    for (const file of FILES_WITH_VERSION) {
      const text = read(file)
      const next = withVersion(file, text, '9.8.7-next.1')
      const names = versionsIn(file, text).map(([name]) => [name, '9.8.7-next.1'])
      expect(versionsIn(file, next)).toEqual(names)
      expect(withVersion(file, next, version)).toBe(text)
    }
  })

  it('is that of the tarballs, and of the platform packages that the package asks for', async () => {
    const { tarballs, wasm } = await packed()
    for (const { file } of tarballs) expect(file).toContain(`-${version}.tgz`)
    const manifest = join(wasm, 'node_modules/x-transformers/package.json')
    const { optionalDependencies } = JSON.parse(readFileSync(manifest, 'utf8'))
    expect(new Set(Object.values(optionalDependencies))).toEqual(new Set([version]))
  }, 300_000)

  it('has an entry in the changelog', () => {
    expect(read('CHANGELOG.md')).toContain(`\n## ${version}`)
  })
})

it('the preface of the changelog stays below the title', () => {
  const before = read('CHANGELOG.md')
  expect(withPreface(before)).toBe(before)
  const added = before.replace('\n', '\n\n## 9.8.7\n\n### Minor Changes\n\n- A line.\n')
  const [title, , preface] = withPreface(added).split('\n')
  expect([title, preface]).toEqual(['# Changelog', before.split('\n')[2]])
  expect(withPreface(added)).toContain('\n\n## 9.8.7\n\n### Minor Changes\n\n- A line.\n')
})
