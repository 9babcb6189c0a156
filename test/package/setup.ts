// Removes what packed.ts has made, once all tests have ended.
import { rmSync } from 'node:fs'
import { folderOfRun } from './packed.js'

export function teardown(): void {
  rmSync(folderOfRun(process.pid), { recursive: true, force: true })
}
