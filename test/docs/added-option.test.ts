// The option that CONTRIBUTING.md shows: its lines still stand in the sources.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { allPages, type Page, root } from './pages.js'

const page = allPages().find(({ path }) => path === 'CONTRIBUTING.md') as Page
const section = page.text.split('\n## Adding an option\n')[1]?.split('\n## ')[0] as string

/** The blocks, each with the path that its first line names. */
const blocks = Array.from(section.matchAll(/^ *```\w+\n([\s\S]*?)^ *```$/gm), ([, code]) => {
  const [first = '', ...lines] = (code as string).split('\n').map((line) => line.trim())
  return { path: first.replace(/^(\/\/|#) /, ''), lines: lines.filter(Boolean) }
})

it('has a declaration, a layer and a case', () => {
  const folders = blocks.map(({ path }) => path.split('/').slice(0, 2).join('/'))
  expect(new Set(folders)).toEqual(new Set(['crates/options', 'crates/core', 'test/golden']))
})

it.each(blocks)('has lines that stand in $path, in this order', ({ path, lines }) => {
  const source = readFileSync(join(root, path), 'utf8').split('\n')
  const places = lines.map((line) => source.findIndex((other) => other.trim() === line))
  expect(lines.filter((_, i) => (places[i] as number) < 0)).toEqual([])
  // a brace alone stands in many places
  const found = places.filter((_, i) => (lines[i] as string).length > 2)
  expect(found.length).toBeGreaterThan(0)
  expect(found).toEqual(found.toSorted((a, b) => a - b))
})

it('has a recording', () => {
  const name = section.match(/lm\("([\w-]+)"/)?.[1]
  for (const end of ['json', 'safetensors'])
    expect(existsSync(join(root, `test/golden/${name}.${end}`))).toBe(true)
})
