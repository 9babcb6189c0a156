// Platform names: in literal `require` calls for tracers and bundlers, and in the scripts.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { LIBC, PLATFORMS as TABLE, triple } from '../../scripts/platforms.mjs'
import { triples } from '../../ts/native/find.node.js'

const PLATFORMS = Object.keys(TABLE)
const source = readFileSync(new URL('../../ts/native/addons.node.ts', import.meta.url), 'utf8')

it('the library requires the addons that the scripts build, each by both of its names', () => {
  const keys = Array.from(source.matchAll(/^ {2}'([\w-]+)': \(fail\)/gm), ([, name]) => name)
  expect(keys).toEqual(PLATFORMS)
  const required = Array.from(source.matchAll(/require\('([^']+)'\)/g), ([, name]) => name)
  expect(required).toEqual(
    PLATFORMS.flatMap((name) => [`../../x-transformers.${name}.node`, `@x-transformers/${name}`]),
  )
})

it('the addon built here is one of those that the library requires here', () => {
  expect(triples()).toContain(triple())
})

it('npm knows the C library of each platform with several of them', () => {
  const linux = PLATFORMS.filter((name) => name.startsWith('linux-'))
  expect(linux.length).toBeGreaterThan(0)
  for (const name of linux) expect(['glibc', 'musl']).toContain(LIBC[name.split('-')[2] as string])
})
