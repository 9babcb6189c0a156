import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { HEADINGS } from './headings.js'

/** The headings that the tests of this folder name. */
function named(): string[] {
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'))
  const sources = files.map((name) => readFileSync(`${import.meta.dirname}/${name}`, 'utf8'))
  return sources.flatMap((source) =>
    [...source.matchAll(/^ {2}sample\(\s*'([^']+)'/gm)].map(([, name]) => name as string),
  )
}

describe('the samples of the Python README', () => {
  it('are 50, each with a test of its own', () => {
    expect(HEADINGS.length).toBe(50)
    expect(named().sort()).toEqual([...HEADINGS].sort())
  })
})
