// Removes the files of packed.ts after all tests.
import { rmSync } from 'node:fs'
import { folderOfRun } from './packed.js'

export function teardown(): void {
  rmSync(folderOfRun(process.pid), { recursive: true, force: true })
}
