// The tests that take long and seldom fail: `npm test` leaves them out, and
// `npm run release:check -- slow` runs them. In TypeScript they are those that test/slow.ts leaves
// out, in Rust three quarters of the random combinations of options, and all of these on the
// emulated GPU.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib.mjs'

/** With it in the environment, slow tests run with the others of their files. */
export const WITH_SLOW = { XT_SLOW: '1' }

export const withSlow = process.env.XT_SLOW === '1'

/** What `npm test` says above its counts. */
export const NOTE = withSlow
  ? ''
  : 'Slow tests are left out; `npm run release:check -- slow` runs them.'

/** All of them take long in Chromium; `npm test` runs them in Node. */
export const SLOW_IN_CHROMIUM = [
  'test/api/fuzz.test.ts',
  'test/api/scaling.test.ts',
  'test/worker/fuzz.test.ts',
]

/** The folders of a project of vitest.config.ts. */
const FOLDERS = { node: /^test\/(?!browser\/)/, browser: /^test\/(api|browser|worker)\// }

/** Files that import test/slow.ts, by themselves or with the helper of the samples. */
const IMPORT = /from '[./]+\/(slow|sample)\.js'/

/** The test files of a project with slow tests. */
export function slowFiles(project) {
  const files = readdirSync(join(root, 'test'), { recursive: true })
    .map((name) => `test/${name.replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.test.ts') && FOLDERS[project].test(path))
    .filter((path) => IMPORT.test(readFileSync(join(root, path), 'utf8')))
  return project === 'browser' ? [...files, ...SLOW_IN_CHROMIUM] : files
}
