// Heavy calls run on their own threads and do not block Node's thread pool of four.

import { pbkdf2 } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { noGrad } from 'x-transformers'
import { ids, largerModel } from '../api/helpers.js'

const FORWARDS = 12

describe('many pending calls', () => {
  it('do not block files, DNS and crypto', async () => {
    const model = largerModel()
    const batch = ids(4, 257, 256)
    await model.forward(batch)
    let done = 0
    const forwards = Array.from({ length: FORWARDS }, async () => {
      await noGrad(() => model.forward(batch))
      done++
    })
    /** How many forwards had ended by then. */
    const forwardsBefore = async (work: Promise<unknown>) => {
      await work
      return done
    }
    const others = await Promise.all([
      forwardsBefore(readFile(import.meta.filename)),
      forwardsBefore(lookup('localhost')),
      forwardsBefore(promisify(pbkdf2)('word', 'salt', 1000, 32, 'sha256')),
    ])
    await Promise.all(forwards)
    // in the queue of Node's thread pool they would have been last
    for (const ended of others) expect(ended).toBeLessThanOrEqual(FORWARDS / 2)
    expect(done).toBe(FORWARDS)
  })

  it('end, including those that are aborted', async () => {
    const model = largerModel()
    const batch = ids(4, 257, 256)
    const controllers = Array.from({ length: FORWARDS }, () => new AbortController())
    const calls = controllers.map(({ signal }) => model.forward(batch, { signal }))
    const settled = Promise.allSettled(calls)
    for (const controller of controllers.filter((_, i) => i % 2)) controller.abort()
    const kinds = (await settled).map(({ status }) => status)
    expect(kinds).toEqual(controllers.map((_, i) => (i % 2 ? 'rejected' : 'fulfilled')))
    const [first, second] = calls
    await expect(second).rejects.toMatchObject({ name: 'AbortError' })
    expect((await first)?.item()).toBeGreaterThan(0)
  })
})
