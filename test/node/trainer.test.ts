// A run that is killed at any moment goes on from its last checkpoint.
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readMetrics } from 'x-transformers/train'

const root = resolve(import.meta.dirname, '../..')
const STEPS = 60

/** Steps of a run that is killed in the middle of its second checkpoint. */
const FEW = 9

/**
 * Trains, and appends each loss to a file. With KILL_AT, it ends before so many changes of files,
 * of those after step 6, have been made.
 */
const PROGRAM = `
import fs, { appendFileSync } from 'node:fs'
import { AdamW, AutoregressiveWrapper, cosineWarmup, Decoder, manualSeed, tensor, TransformerWrapper } from 'x-transformers'
import { jsonlLogger, Trainer } from 'x-transformers/train'
const [folder, losses, steps] = process.argv.slice(2)
let left = Infinity
for (const [of, names] of [[fs, ['open', 'write', 'rename', 'unlink']], [fs.promises, ['mkdir', 'rm']]])
  for (const name of names) {
    const call = of[name]
    of[name] = (...args) => {
      if (--left < 0) process.kill(process.pid, 'SIGKILL')
      return call.apply(of, args)
    }
  }
manualSeed(1)
const attn_layers = new Decoder({ dim: 32, depth: 2, heads: 2, attn_dropout: 0.1, ff_dropout: 0.1 })
const model = new AutoregressiveWrapper(new TransformerWrapper({ num_tokens: 17, max_seq_len: 16, attn_layers }))
const row = (seed) => Array.from({ length: 16 }, (_, i) => (i * i + seed * 5) % 17)
const data = Array.from({ length: 7 }, (_, i) => [tensor([row(i), row(i + 7)], { dtype: 'i64' })])
const trainer = new Trainer(model, {
  data,
  optimizer: new AdamW(model.parameters(), { lr: 3e-3 }),
  schedule: cosineWarmup({ lr: 3e-3, warmup_steps: 5, total_steps: ${STEPS} }),
  steps: Number(steps),
  clip: 1,
  eval: { data: data.slice(0, 2), every: 4 },
  checkpoint: { folder, every: 3 },
  resume: true,
  loggers: [jsonlLogger(losses + '.jsonl')],
})
for await (const event of trainer) {
  if (event.type !== 'step') continue
  appendFileSync(losses, event.step + ' ' + event.loss + '\\n')
  if (event.step === 6 && process.env.KILL_AT) left = Number(process.env.KILL_AT)
}
`

let folder: string
let program: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-trainer-'))
  program = join(root, 'dist', `killed-${process.pid}.mjs`)
  writeFileSync(program, PROGRAM)
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  rmSync(program, { force: true })
})

interface Run {
  steps: number
  /** It is killed some time after so many more losses. */
  kill_after?: number
  /** Changes of files before which it is killed. */
  kill_at?: number
}

/** Runs the program; gives whether it came to its end. */
function run(name: string, { steps, kill_after, kill_at }: Run): Promise<boolean> {
  const args = [program, join(folder, name), join(folder, `${name}.txt`), `${steps}`]
  const env = { ...process.env, ...(kill_at !== undefined && { KILL_AT: `${kill_at}` }) }
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit', env })
  const size = () => (existsSync(args[2] as string) ? statSync(args[2] as string).size : 0)
  const enough = size() + (kill_after ?? Infinity) * 20
  const timer = setInterval(() => size() > enough && child.kill('SIGKILL'), 1)
  return new Promise((done, fail) => {
    child.on('close', (code, signal) => {
      clearInterval(timer)
      if (code === 0 || signal === 'SIGKILL') done(code === 0)
      else fail(new Error(`the run ended with ${code ?? signal}`))
    })
  })
}

/** The loss of each step; those that were repeated must be the same each time. */
function lossesOf(name: string): Map<number, string> {
  const losses = new Map<number, string>()
  for (const line of readFileSync(join(folder, `${name}.txt`), 'utf8')
    .trim()
    .split('\n')) {
    const [step, loss] = line.split(' ') as [string, string]
    const before = losses.get(Number(step)) ?? loss
    expect(loss, `step ${step}`).toBe(before)
    losses.set(Number(step), loss)
  }
  return losses
}

it('gives the same losses when it is killed again and again', async () => {
  expect(await run('whole', { steps: STEPS })).toBe(true)
  let kills = 0
  for (; !(await run('killed', { steps: STEPS, kill_after: 11 })); kills++)
    expect(kills).toBeLessThan(STEPS)
  expect(kills).toBeGreaterThan(2)
  expect([...lossesOf('killed')].sort(([a], [b]) => a - b)).toEqual([...lossesOf('whole')])
  expect(lossesOf('whole').size).toBe(STEPS)
  checkFolder('killed')
  expect(await metricsOf('killed')).toEqual(await metricsOf('whole'))
  expect(await metricsOf('whole')).toHaveLength(STEPS + STEPS / 4 + 1)
  expect(modelOf('killed', STEPS).equals(modelOf('whole', STEPS))).toBe(true)
})

/** Checks that there are whole checkpoints alone, and as few as were asked for. */
function checkFolder(name: string): void {
  const left = readdirSync(join(folder, name)).sort()
  const files = (step: string) => readdirSync(join(folder, name, step)).sort()
  expect(left.length).toBeLessThanOrEqual(3)
  for (const step of left)
    expect(files(step)).toEqual(['model.safetensors', 'optimizer.safetensors', 'trainer.json'])
}

/** The lines of the metrics, of which each step and evaluation has one. */
async function metricsOf(name: string): Promise<object[]> {
  const path = join(folder, `${name}.txt.jsonl`)
  // no line is cut off, whatever the end was
  for (const line of readFileSync(path, 'utf8').split(/\n(?=.)/)) JSON.parse(line)
  return (await readMetrics(path)).flatMap((line) => {
    if (line.type === 'step') return { step: line.step, loss: line.loss }
    if (line.type === 'evaluation') return { evaluation: line.step, loss: line.loss }
    return line.type === 'done' ? { done: line.steps } : []
  })
}

const modelOf = (name: string, step: number) =>
  readFileSync(join(folder, name, `step-${step}`, 'model.safetensors'))

it('goes on wherever in a checkpoint it was killed', async () => {
  expect(await run('few', { steps: FEW })).toBe(true)
  let at = 0
  const tryNext = async () => {
    for (;;) {
      const kill_at = at++
      const name = `at-${kill_at}`
      if (await run(name, { steps: FEW, kill_at })) return
      expect(await run(name, { steps: FEW })).toBe(true)
      expect([...lossesOf(name)].sort(([a], [b]) => a - b)).toEqual([...lossesOf('few')])
      expect(modelOf(name, FEW).equals(modelOf('few', FEW))).toBe(true)
      expect(await metricsOf(name)).toEqual(await metricsOf('few'))
      checkFolder(name)
    }
  }
  await Promise.all([tryNext(), tryNext()])
  // three files and a folder at least, twice, and the removal of an old checkpoint
  expect(at).toBeGreaterThan(20)
}, 120_000)
