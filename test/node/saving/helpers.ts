/** Temporary folders for tests of saving, and both ways to save. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, expect } from 'vitest'
import { full, loadTensorsSync, saveTensors, saveTensorsSync, type Tensor } from 'x-transformers'

/** The folder of the built package. */
export const root = fileURLToPath(new URL('../../..', import.meta.url))

export const top = mkdtempSync(join(tmpdir(), 'x-transformers-'))
afterAll(() => rmSync(top, { recursive: true, force: true }))

let count = 0
let folder = top
beforeEach(() => {
  folder = join(top, String(count++))
  mkdirSync(folder)
})
/** A path in the folder of this test; without a name, the folder. */
export const path = (name = '') => (name ? `${folder}/${name}` : folder)
export const mode = (name: string) => statSync(path(name)).mode & 0o7777

export const POSIX = process.platform !== 'win32'
export const LINUX = process.platform === 'linux'
export const ROOT = process.getuid?.() === 0

type Save = (tensors: Record<string, Tensor>, path: string) => unknown

/** Both ways to save a tensor of this value; both reject on errors. */
export const WAYS: [name: string, save: (path: string, value?: number) => Promise<void>][] = (
  [
    ['in the background', saveTensors],
    ['synchronously', saveTensorsSync],
  ] as [string, Save][]
).map(([name, save]) => [
  name,
  async (path, value = 1) => void (await save({ x: full([3], value) }, path)),
])

export const valueIn = (path: string) => loadTensorsSync(path).tensors.get('x')?.toArray()
export const expectSaved = (name: string, value = 1) =>
  expect(valueIn(path(name))).toEqual([value, value, value])
export const expectNothingElse = (...names: string[]) =>
  expect(readdirSync(path()).sort()).toEqual(names.sort())
