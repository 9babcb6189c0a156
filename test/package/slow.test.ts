// What `npm run release:check -- slow` runs: no slow test may be left out of it (scripts/slow.mjs).
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SLOW_IN_CHROMIUM, slowFiles } from '../../scripts/slow.mjs'
import { root } from './packed.js'

/** The files of `test` that import test/slow.ts. */
const importing = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .map((name) => `test/${name.replaceAll('\\', '/')}`)
  .filter((path) => path.endsWith('.ts') && !path.includes('/node_modules/'))
  .filter((path) => /from '[^']*\/slow\.js'/.test(readFileSync(join(root, path), 'utf8')))

describe('the release check', () => {
  const node = slowFiles('node')
  const browser = slowFiles('browser')

  it('runs every file with slow tests, in each project that has it', () => {
    const tests = importing.filter((path) => path.endsWith('.test.ts'))
    expect(tests.length).toBeGreaterThan(0)
    expect([...node, ...browser]).toEqual(expect.arrayContaining(tests))
    const inBoth = tests.filter((path) => /^test\/(api|worker)\//.test(path))
    expect(node).toEqual(expect.arrayContaining(inBoth))
    expect(browser).toEqual(expect.arrayContaining(inBoth))
  })

  it('knows the helpers that leave tests out', () => {
    const helpers = importing.filter((path) => !path.endsWith('.test.ts'))
    expect(helpers).toEqual(['test/samples/sample.ts'])
    const samples = node.filter((path) => path.startsWith('test/samples/'))
    // all but the one that counts them
    const files = readdirSync(join(root, 'test/samples')).filter((name) =>
      name.endsWith('.test.ts'),
    )
    expect(samples).toHaveLength(files.length - 1)
  })

  it('runs the files that Chromium leaves out, which Node runs', () => {
    expect(browser).toEqual(expect.arrayContaining(SLOW_IN_CHROMIUM))
    for (const path of SLOW_IN_CHROMIUM) {
      expect(path).toMatch(/^test\/(api|worker)\//)
      expect(existsSync(join(root, path)), path).toBe(true)
    }
  })
})
