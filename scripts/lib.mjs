// What the scripts share. Plain Node without dependencies, since they run before anything is
// installed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Messages go to stderr: stdout belongs to the command that runs afterwards. */
export const say = (message) => process.stderr.write(`${message}\n`)

/** A failure that is explained by its message alone. */
export class Failure extends Error {}

/**
 * Where downloads and built tools are kept: a folder that git ignores, or one that outlives the
 * clone (XT_CACHE).
 */
export function cache() {
  const folder = process.env.XT_CACHE ? resolve(process.env.XT_CACHE) : join(root, '.cache')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** The full path of a program on PATH; null where there is none. */
export function onPath(name) {
  const suffixes = process.platform === 'win32' ? ['.exe', '.cmd', ''] : ['']
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  const paths = places.flatMap((folder) => suffixes.map((suffix) => join(folder, name + suffix)))
  return paths.find((path) => existsSync(path)) ?? null
}

const GENERATED = new Set(['node_modules', 'target', 'dist', 'pkg'])

function* walk(path) {
  if (!statSync(path).isDirectory()) {
    yield path
    return
  }
  for (const name of readdirSync(path).sort())
    if (!GENERATED.has(name)) yield* walk(join(path, name))
}

/** One hash over the contents of files and folders. What does not exist counts as empty. */
export function hashOf(paths, ...more) {
  const hash = createHash('sha256')
  for (const path of paths.map((p) => join(root, p)).filter((p) => existsSync(p))) {
    for (const file of walk(path))
      hash
        .update(`${file.slice(root.length)}\0`)
        .update(readFileSync(file))
        .update('\0')
  }
  return hash.update(JSON.stringify(more)).digest('hex')
}

export const readText = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : '')

/**
 * Runs a program in the root and resolves to `{ code, out }`. Its stdout goes where `stdout` says:
 * to our stderr, into `out` alone ('capture'), or to our stdout and into `out` ('tee').
 */
export function run(
  program,
  args,
  { stdout = 'stderr', env = {}, shell = false, cwd = root } = {},
) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      shell,
      env: { ...process.env, ...env },
      stdio: ['ignore', stdout === 'stderr' ? 2 : 'pipe', stdout === 'tee' ? 'pipe' : 'inherit'],
    })
    let out = ''
    const take = (stream) => (text) => {
      out += text
      if (stdout === 'tee') stream.write(text)
    }
    child.stdout?.setEncoding('utf8').on('data', take(process.stdout))
    child.stderr?.setEncoding('utf8').on('data', take(process.stderr))
    child.on('error', (error) => resolve({ code: 127, out: out + error.message }))
    child.on('close', (code, signal) => resolve({ code: signal ? 1 : code, out }))
  })
}

/**
 * Runs npm. Under npm its own file is known; outside, `npm` is a script that Windows only finds
 * through a shell.
 */
export function npm(args, options) {
  const own = process.env.npm_execpath
  if (own?.endsWith('.js')) return run(process.execPath, [own, ...args], options)
  return run('npm', args, { shell: process.platform === 'win32', ...options })
}

/** The main file of a devDependency's command, to be run with this Node. */
export function bin(name, command = name) {
  const folder = join(root, 'node_modules', name)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return join(folder, typeof bin === 'string' ? bin : bin[command])
}
