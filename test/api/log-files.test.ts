// Files that a run writes what it hears to.

import { describe, expect, it } from 'vitest'
import { AdamW, type Module } from 'x-transformers'
import {
  jsonlLogger,
  type MetricsLine,
  readMetrics,
  type TrainEvent,
  Trainer,
  tensorboardLogger,
} from 'x-transformers/train'
import { files } from '#files'
import { openSource } from '../../ts/io/sources.js'
import { info, stepEvent, stepsOf } from './events.js'
import { newFolder } from './folder.js'
import { ids, smallModel } from './helpers.js'

async function run(model: Module, more: object): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  const trainer = new Trainer(model, {
    data: [6, 9, 7].map((length) => [ids(2, length)]),
    optimizer: new AdamW(model.parameters(), { lr: 3e-3 }),
    steps: 5,
    ...more,
  })
  for await (const event of trainer) events.push(event)
  return events
}

async function textOf(path: string): Promise<string> {
  const input = await openSource(path)
  const text = new TextDecoder().decode(await input.read(0, input.size ?? 0))
  await input.close()
  return text
}

const typesOf = (lines: MetricsLine[]) => lines.map(({ type }) => type).join(' ')

describe('jsonlLogger', () => {
  it('writes a line for each event, which readMetrics gives back', async () => {
    const path = `${await newFolder()}/within/metrics.jsonl`
    const model = smallModel()
    const events = await run(model, {
      ...{ norms: { every: 2 }, eval: { data: [[ids(2, 6)]], every: 3 }, clip: 1 },
      sample: { every: 5, make: () => 'one\ntwo "three" \u2028 é' },
      loggers: [jsonlLogger(path)],
    })
    const [first, ...lines] = await readMetrics(path)
    expect(lines).toEqual(events)
    expect(first).toMatchObject({ type: 'run', step: 0, steps: 5, clip: 1, grad_accum: 1 })
    expect(first).toMatchObject({ num_parameters: model.numParameters })
    expect(Date.parse((first as { time: string }).time)).toBeGreaterThan(0)
    expect((await textOf(path)).split('\n')).toHaveLength(events.length + 2)
  })

  it('goes on behind the checkpoint that the run goes on from', async () => {
    const folder = await newFolder()
    const path = `${folder}/metrics.jsonl`
    const options = { checkpoint: { folder, every: 3 }, resume: true }
    // it ends behind step 4, of which there is no checkpoint
    const failing = async () => {
      throw new Error('an end')
    }
    const broken = { sample: { every: 4, make: failing }, loggers: [jsonlLogger(path)] }
    await expect(run(smallModel(), { ...options, ...broken })).rejects.toThrow('an end')
    expect(stepsOf(await readMetrics(path))).toEqual([1, 2, 3, 4])
    await run(smallModel(), { ...options, loggers: [jsonlLogger(path)] })
    const types = 'run step step step checkpoint run step step checkpoint done'
    expect(typesOf(await readMetrics(path))).toBe(types)
    // once more, and then with another step
    await run(smallModel(), { ...options, loggers: [jsonlLogger(path)] })
    await run(smallModel(), { ...options, steps: 6, loggers: [jsonlLogger(path)] })
    const lines = await readMetrics(path)
    expect(stepsOf(lines)).toEqual([1, 2, 3, 4, 5, 6])
    expect(lines.filter(({ type }) => type === 'done')).toHaveLength(1)
  })

  it('begins anew with a run that does', async () => {
    const path = `${await newFolder()}/metrics.jsonl`
    const logger = jsonlLogger(path)
    await run(smallModel(), { loggers: [logger] })
    await run(smallModel(), { steps: 2, loggers: [logger] })
    expect(typesOf(await readMetrics(path))).toBe('run step step done')
  })

  it('leaves out what a process that was killed has not finished', async () => {
    const path = `${await newFolder()}/metrics.jsonl`
    const logger = jsonlLogger(path)
    await logger.start?.(info(0))
    for (const step of [1, 2, 3]) await logger.log(stepEvent(step))
    await logger.close?.()
    const file = await files.append(path)
    await file.append(new TextEncoder().encode('{"type":"step","st'))
    await file.close()
    expect(stepsOf(await readMetrics(path))).toEqual([1, 2, 3])
    const next = jsonlLogger(path)
    await next.start?.(info(3))
    await next.log(stepEvent(4))
    await next.close?.()
    expect(stepsOf(await readMetrics(path))).toEqual([1, 2, 3, 4])
  })

  it('is on the disk before a checkpoint is, and soon anyway', async () => {
    const path = `${await newFolder()}/metrics.jsonl`
    const logger = jsonlLogger(path)
    await logger.start?.(info(0))
    await logger.log(stepEvent(1))
    await logger.flush?.()
    expect(stepsOf(await readMetrics(path))).toEqual([1])
    await new Promise((resolve) => setTimeout(resolve, 1050))
    await logger.log(stepEvent(2))
    expect(stepsOf(await readMetrics(path))).toEqual([1, 2])
    // also where nothing comes after it
    await logger.log(stepEvent(3))
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(stepsOf(await readMetrics(path))).toEqual([1, 2, 3])
    await logger.close?.()
  })

  it('refuses what is no path, and other files', async () => {
    expect(() => jsonlLogger('')).toThrow(/what jsonlLogger takes must be the path to write to/)
    expect(() => tensorboardLogger(3 as never)).toThrow(/what tensorboardLogger takes/)
    const folder = await newFolder()
    await run(smallModel(), { steps: 1, checkpoint: { folder }, loggers: [] })
    const wrong = run(smallModel(), { steps: 1, loggers: [jsonlLogger(folder)] })
    await expect(wrong).rejects.toMatchObject({ code: 'file' })
    await expect(readMetrics(`${folder}/nothing`)).rejects.toMatchObject({ code: 'file' })
    await expect(readMetrics(new Blob(['{"a":1}\n{"type":"done"}\n']))).rejects.toThrow(
      'line 1 of the metrics is none of jsonlLogger: {"a":1}',
    )
  })
})
