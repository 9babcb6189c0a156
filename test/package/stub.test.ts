// The replacement for the build with threads on machines that cannot build it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { isStub, writeStub } from '../../scripts/wasm/stub.mjs'

const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('the stub loads, and says why there are no threads', async () => {
  expect(isStub(folder)).toBe(false)
  writeStub(folder)
  expect(isStub(folder)).toBe(true)
  const { initSync } = await import(
    /* @vite-ignore */ pathToFileURL(join(folder, 'threads.js')).href
  )
  expect(initSync).toThrow('was not made')
  // fetched and compiled before it is started
  expect(WebAssembly.validate(readFileSync(join(folder, 'x-transformers.threads.wasm')))).toBe(true)
})
