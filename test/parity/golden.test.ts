import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { listFixtures, runFile } from './fixtures.js'

const fixtures = listFixtures(fileURLToPath(new URL('../golden', import.meta.url)))

it('finds the recorded cases and traces', () => {
  expect(fixtures.filter(({ spec }) => 'case' in spec).length).toBeGreaterThan(100)
  expect(fixtures.filter(({ spec }) => 'trace' in spec).length).toBeGreaterThanOrEqual(5)
})

describe('equals the Python package', () => {
  for (const fixture of fixtures) {
    it(fixture.name, async () => {
      const { status, reason } = await runFile(fixture)
      expect(status, reason).toBe('passed')
    })
  }
})
