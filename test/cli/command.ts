// The command `x-transformers`, as a process.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const CLI = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Started {
  child: ChildProcess
  ended: Promise<Ended>
}

export interface StartOptions {
  env?: NodeJS.ProcessEnv
  cwd?: string
  /** What it reads from standard input. */
  input?: string
  /** Hears of all that it has written so far. */
  onOutput?: (text: string, child: ChildProcess) => void
}

/** Starts a program, and gathers what it writes. */
export function start(args: readonly string[], options: StartOptions = {}): Started {
  const { env, cwd, input, onOutput } = options
  const child = spawn(process.execPath, args, {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...env },
  })
  child.stdin.end(input ?? '')
  const ended = new Promise<Ended>((resolve) => {
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (data) => {
      stdout += data
      onOutput?.(stdout + stderr, child)
    })
    child.stderr.on('data', (data) => {
      stderr += data
      onOutput?.(stdout + stderr, child)
    })
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  return { child, ended }
}

/** Runs the command to its end. */
export const x = (args: readonly string[], options: StartOptions = {}): Promise<Ended> =>
  start([CLI, ...args], options).ended

/** The last line of an output, which is JSON. */
export const lastJson = (text: string) => JSON.parse(text.trim().split('\n').at(-1) as string)

/** A text in which there is something to learn, and the folder that it is in. */
export function scratch(): { folder: string; text: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-cli-'))
  const text = join(folder, 'text.txt')
  writeFileSync(text, 'Call me Ishmael. Some years ago, never mind how long.\n'.repeat(80))
  return { folder, text, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** A model so small that a step takes a millisecond. */
export const SMALL = [
  ...['--preset', 'nanogpt-cpu', '--set', 'dim=16', 'depth=1', 'heads=2', 'attn_dim_head=8'],
  ...['max_seq_len=16', 'train.length=16', 'batch_size=4', 'sample.tokens=10'],
]

/** The arguments of a small run; those with an equals sign change its configuration. */
export const smallRun = (text: string, out: string, more: readonly string[] = []) => [
  ...['train', ...SMALL, ...more.filter((argument) => argument.includes('='))],
  ...['--data', text, '--out', out, '--json'],
  ...more.filter((argument) => !argument.includes('=')),
]
