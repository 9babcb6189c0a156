// TensorBoard's event files: the bytes of its own writer, and what its own reader finds in them.
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AdamW } from 'x-transformers'
import { type StepEvent, type TrainEvent, Trainer, tensorboardLogger } from 'x-transformers/train'
import { tensorboard } from '../../scripts/tensorboard.mjs'
import { crc32c } from '../../ts/train/log-files/crc32c.js'
import {
  record,
  scalar,
  startRecord,
  summaryRecord,
  textValue,
  versionRecord,
} from '../../ts/train/log-files/records.js'
import { ids, smallModel } from '../api/helpers.js'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

describe('event files', () => {
  it('are those of TensorBoard, byte by byte', () => {
    const values = { 'train/loss': 2.5, 'train/lr': 1e-3, 'grad_norms/net.token_emb': 0 }
    const sample = `    café\n    ${'word '.repeat(60)}`
    const records = [
      versionRecord({ seconds: 1700000000.25, step: 0 }),
      startRecord({ seconds: 1700000001, step: 0 }),
      startRecord({ seconds: 1700000002.5, step: 3 }),
      summaryRecord(
        { seconds: 1700000003, step: 300 },
        Object.entries(values).map(([tag, value]) => scalar(tag, value)),
      ),
      summaryRecord({ seconds: 1700000004, step: 2 ** 40 }, [textValue('sample', sample)]),
    ]
    const want = readFileSync(at('../python/events.tfevents'))
    expect(Buffer.concat(records).toString('hex')).toBe(want.toString('hex'))
  })

  it('have the checksums of RFC 3720, B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43)
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e)
    expect(record(new Uint8Array())).toHaveLength(16)
  })
})

const program = await tensorboard()
if (!program && process.env.CI) throw new Error('TensorBoard cannot be fetched with pip.')
if (!program) console.warn('TensorBoard is not asked: pip of Python 3 cannot fetch it.')

/** What TensorBoard finds: `[step, value]` by tag. */
interface Found {
  scalars: Record<string, [number, number][]>
  texts: Record<string, [number, string][]>
}

describe.skipIf(!program)("TensorBoard's reader", () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'x-transformers-tensorboard-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function found(): Promise<Found> {
    const { python, path } = program as NonNullable<typeof program>
    const args = [at('../python/event_files.py'), 'read', folder]
    const env = { ...process.env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1' }
    const { stdout, stderr } = await promisify(execFile)(python, args, { env })
    // it tells of what it leaves out, and would tell of records that are damaged
    for (const line of stderr.trim().split('\n'))
      expect(line).toMatch(/^$|^Detected out of order event.step likely caused by a .* restart/)
    return JSON.parse(stdout)
  }

  async function run(more: object): Promise<TrainEvent[]> {
    const model = smallModel()
    const events: TrainEvent[] = []
    await new Trainer(model, {
      data: [6, 9, 7].map((length) => [ids(2, length)]),
      optimizer: new AdamW(model.parameters(), { lr: 3e-3 }),
      ...{ norms: {}, eval: { data: [[ids(2, 6)]], every: 2 } },
      sample: { every: 4, make: () => '# not a title\n"é"' },
      checkpoint: { folder, every: 4 },
      steps: 6,
      loggers: [tensorboardLogger(folder)],
      resume: true,
      ...more,
    }).run((event) => events.push(event))
    return events
  }

  const stepsOf = (events: TrainEvent[]) =>
    events.filter((event): event is StepEvent => event.type === 'step')

  it('finds the losses, rates, norms and samples of a run that was resumed', async () => {
    const first = await run({ schedule: () => 0.01 })
    // as after a process that was killed at step 6: the last checkpoint is that of step 4
    rmSync(join(folder, 'step-6'), { recursive: true })
    const second = await run({ steps: 7, schedule: () => 0.02 })
    const steps = [...stepsOf(first).slice(0, 4), ...stepsOf(second)]
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(readdirSync(folder).filter((name) => name.includes('tfevents'))).toHaveLength(2)

    const { scalars, texts } = await found()
    const values = (of: (event: StepEvent) => number) =>
      steps.map((event) => [event.step, Math.fround(of(event))])
    expect(scalars['train/loss']).toEqual(values(({ loss }) => loss))
    expect(scalars['train/lr']).toEqual(values(({ lr }) => lr))
    expect(scalars['train/grad_norm']).toEqual(values(({ grad_norm }) => grad_norm as number))
    expect(scalars['train/tokens_per_second']).toEqual(values((event) => event.tokens_per_second))
    const layers = Object.keys(steps[0]?.grad_norms ?? {})
    expect(layers).toContain('net.attn_layers.layers.1')
    for (const layer of layers)
      expect(scalars[`grad_norms/${layer}`]).toEqual(
        values(({ grad_norms }) => grad_norms?.[layer] as number),
      )
    expect(scalars['eval/loss']?.map(([step]) => step)).toEqual([2, 4, 6, 7])
    expect(texts.sample).toEqual([4, 7].map((step) => [step, '    # not a title\n    "é"']))
    const [options] = (texts.run as [number, string][]).map(([, text]) => JSON.parse(text))
    expect(options.model.class).toBe('AutoregressiveWrapper')
  })

  it('finds a run that begins anew in place of the old one', async () => {
    for (const name of readdirSync(folder).filter((name) => name.startsWith('step-')))
      rmSync(join(folder, name), { recursive: true })
    await run({ steps: 2 })
    const { scalars } = await found()
    expect(scalars['train/loss']?.map(([step]) => step)).toEqual([1, 2])
  })
})
