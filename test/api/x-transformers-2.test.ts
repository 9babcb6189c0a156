// Recordings of Python's x-transformers 2 (test/x-transformers-2): outputs, gradients, generation.
import { describe, expect, it } from 'vitest'
import { runFixture } from '../parity/harness.js'
import { CASES, FROM_START, recordedCase, X_TRANSFORMERS_2 } from './x-transformers-2.js'

/** Cases that options of this package cannot express, with the reason. */
const NOT_COVERED: Readonly<Record<string, string>> = {}

it('knows all recordings', () => {
  expect(CASES.length).toBe(60)
  expect(CASES).toEqual(expect.arrayContaining(Object.keys(NOT_COVERED)))
})

describe('equals x-transformers 2', () => {
  it.each(CASES.filter((name) => !(name in NOT_COVERED)))('%s', async (name) => {
    const [spec, bytes] = await recordedCase(name)
    const as = name === 'seq-start-pos' ? FROM_START : X_TRANSFORMERS_2
    const { status, reason } = await runFixture(spec, bytes, undefined, as)
    expect(status, reason).toBe('passed')
  })
})
