// The commands of package.json, with a model so small that they take seconds.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const command = (path: string) =>
  fileURLToPath(new URL(`../../dist/commands/${path}.js`, import.meta.url))
const SMALL = ['--dim', '16', '--depth', '1', '--heads', '2', '--batch', '16', '--length', '16']
const FILES = ['config.json', 'moby-dick.safetensors', 'moby-dick.txt', 'tokenizer.json']

function run(name: string, args: string[], onStderr?: (text: string, kill: () => void) => void) {
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [command(name), ...args])
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (data) => {
      stdout += data
    })
    child.stderr.on('data', (data) => {
      stderr += data
      onStderr?.(stderr, () => child.kill('SIGINT'))
    })
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

describe('npm start and npm run sample', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('trains, prints one JSON object at the end, and saves a checkpoint to sample from', async () => {
    const out = join(folder, 'whole')
    const { code, stdout, stderr } = await run('apps/moby-dick/train', [
      '--json',
      '--steps',
      '3',
      '--out',
      out,
      ...SMALL,
    ])
    expect(code, stderr).toBe(0)
    const result = JSON.parse(stdout.trim())
    expect(result).toMatchObject({
      steps: 3,
      seconds: expect.any(Number),
      train_loss: expect.any(Number),
      val_loss: expect.any(Number),
      tokens_per_second: expect.any(Number),
      checkpoint: join(out, 'moby-dick.safetensors'),
    })
    expect(result.sample.length).toBeGreaterThanOrEqual(300)
    expect(readdirSync(out)).toEqual(expect.arrayContaining(FILES))

    const args = [result.checkpoint, '--prompt', 'The whale', '--characters', '20', '--seed', '1']
    const again = await run('apps/moby-dick/sample', args)
    expect(again.code, again.stderr).toBe(0)
    expect(again.stdout).toMatch(/^The whale/)
    expect((await run('apps/moby-dick/sample', args)).stdout).toBe(again.stdout)
  })

  it('saves when it is interrupted, says how to sample, and exits with 130', async () => {
    const out = join(folder, 'interrupted')
    let killed = false
    const args = ['--json', '--minutes', '5', '--out', out, ...SMALL]
    const { code, stdout, stderr } = await run('apps/moby-dick/train', args, (text, kill) => {
      if (killed || !text.includes('step ')) return
      killed = true
      kill()
    })
    expect(code, stderr).toBe(130)
    expect(stderr).toContain('npm run sample -- ')
    expect(stdout).toBe('')
    expect(readdirSync(out)).toEqual(expect.arrayContaining(FILES))
  })
})

describe('npm start in a folder that is there', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('replaces its own run, and no other', async () => {
    const args = ['--json', '--steps', '1', '--sample', '0', '--out', folder, ...SMALL]
    const first = await run('apps/moby-dick/train', args)
    expect(first.code, first.stderr).toBe(0)
    const own = join(folder, 'moby-dick.safetensors')
    const again = await run('apps/moby-dick/train', [...args, '--seed', '1', '--resume', own])
    expect(again.code, again.stderr).toBe(0)
    const path = join(folder, 'config.json')
    const config = JSON.parse(readFileSync(path, 'utf8'))
    expect([config.seed, config.init]).toEqual([1, own])
    expect(JSON.parse(again.stdout).train_loss).toBeLessThan(JSON.parse(first.stdout).train_loss)
    for (const other of [null, {}, { data: { files: ['other.txt'] } }]) {
      writeFileSync(path, JSON.stringify(other))
      const before = readdirSync(folder).sort()
      const { code, stderr } = await run('apps/moby-dick/train', args)
      expect([code, stderr]).toEqual([2, expect.stringContaining('has another run')])
      expect(readdirSync(folder).sort()).toEqual(before)
    }
  })

  it('names no checkpoint where it is interrupted before there is one', async () => {
    const out = join(folder, 'early')
    let killed = false
    const args = ['--json', '--minutes', '5', '--out', out, ...SMALL]
    const { code, stderr } = await run('apps/moby-dick/train', args, (text, kill) => {
      if (killed || !text.includes('Reading the data')) return
      killed = true
      kill()
    })
    expect(code, stderr).toBe(130)
    expect(stderr.includes('npm run sample')).toBe(existsSync(join(out, 'moby-dick.safetensors')))
  })
})

describe('npm run parity', () => {
  it('rejects a folder that does not exist, or has no cases', async () => {
    for (const folder of ['no-such-folder', dirname(fileURLToPath(import.meta.url))]) {
      const { code, stderr } = await run('scripts/parity', [folder])
      expect(code).toBe(1)
      expect(stderr).toContain(folder)
    }
  })
})
