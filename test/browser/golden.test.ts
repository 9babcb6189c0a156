/// <reference types="vite/client" />
// The cases of test/golden through the public classes in the browser, with the same harness as in
// Node.
import { describe, expect, it } from 'vitest'
import { runFixture } from '../parity/harness.js'

const specs = import.meta.glob('../golden/*.json', { import: 'default' })
const tensors = import.meta.glob<string>('../golden/*.safetensors', {
  query: '?url',
  import: 'default',
})

const names = Object.keys(tensors).map((path) => path.replace(/^.*\/|\.safetensors$/g, ''))

it('finds the recorded cases and traces', () => {
  expect(names.length).toBeGreaterThan(150)
})

describe('equals the Python package', () => {
  it.each(names)('%s', async (name) => {
    const spec = (await specs[`../golden/${name}.json`]?.()) as Parameters<typeof runFixture>[0]
    const response = await fetch((await tensors[`../golden/${name}.safetensors`]?.()) as string)
    const { status, reason } = await runFixture(spec, new Uint8Array(await response.arrayBuffer()))
    expect(status, reason).toBe('passed')
  })
})
