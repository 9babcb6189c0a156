// Files of loggers in Node: systems that let files do less, and disks that are full.
import { open } from 'node:fs/promises'
import { afterEach, expect, it, vi } from 'vitest'
import { jsonlLogger, readMetrics } from 'x-transformers/train'
import { info, stepEvent, stepsOf } from '../api/events.js'
import { newFolder } from '../api/folder.js'

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** What all handles of files have. */
async function handles() {
  const handle = await open(import.meta.filename)
  await handle.close()
  return Object.getPrototypeOf(handle)
}

const failing = (code: string) => async () => {
  throw Object.assign(new Error(`${code}: as the system says`), { code })
}

it('is cut where a handle that appends cannot cut, as on Windows', async () => {
  const path = `${await newFolder()}/metrics.jsonl`
  vi.spyOn(await handles(), 'truncate').mockImplementation(failing('EPERM'))
  for (const [from, steps] of [
    [0, [1, 2, 3]],
    [2, [3, 4]],
  ] as const) {
    const logger = jsonlLogger(path)
    await logger.start?.(info(from))
    for (const step of steps) await logger.log(stepEvent(step))
    await logger.close?.()
  }
  expect(stepsOf(await readMetrics(path))).toEqual([1, 2, 3, 4])
})

it('tells of a write that failed while nobody waited, and lets the process end', async () => {
  const path = `${await newFolder()}/metrics.jsonl`
  const logger = jsonlLogger(path)
  await logger.start?.(info(0))
  const timeout = vi.spyOn(globalThis, 'setTimeout')
  await logger.log(stepEvent(1))
  const [timer] = timeout.mock.results.map(({ value }) => value as NodeJS.Timeout)
  expect(timer?.hasRef()).toBe(false)
  timeout.mockRestore()
  vi.spyOn(await handles(), 'appendFile').mockImplementation(failing('ENOSPC'))
  await new Promise((resolve) => setTimeout(resolve, 1100))
  vi.restoreAllMocks()
  await logger.log(stepEvent(2))
  await expect(logger.flush?.()).rejects.toThrow(/metrics.jsonl cannot be saved: ENOSPC/)
  await expect(logger.close?.()).rejects.toMatchObject({ code: 'file' })
})
