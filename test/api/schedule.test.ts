import { describe, expect, it } from 'vitest'
import { Gate, NO_GATES, runOrQueue, schedule, scheduleSync } from '../../ts/tensor/schedule.js'

/** A task that ends when it is told to, and records when it starts. */
function work(log: string[], name: string) {
  let end = () => {}
  let fail = (_: Error) => {}
  const run = () => {
    log.push(name)
    return new Promise<string>((resolve, reject) => {
      end = () => resolve(name)
      fail = reject
    })
  }
  return { run, end: () => end(), fail: (error: Error) => fail(error) }
}

const gates = () => new Set([new Gate()])
const flush = () => new Promise((resolve) => setTimeout(resolve))

describe('the order of calls on the same weights', () => {
  it('starts a call at once if nothing is pending', () => {
    const log: string[] = []
    void schedule(gates(), NO_GATES, work(log, 'read').run)
    expect(log).toEqual(['read'])
  })

  it('lets reads overlap; a write waits for earlier reads, and later reads wait for the write', async () => {
    const [log, weights] = [[] as string[], gates()]
    const [r1, r2, w, r3] = ['r1', 'r2', 'w', 'r3'].map((name) => work(log, name)) as ReturnType<
      typeof work
    >[]
    const first = schedule(weights, NO_GATES, r1.run)
    const second = schedule(weights, NO_GATES, r2.run)
    const write = schedule(NO_GATES, weights, w.run)
    const third = schedule(weights, NO_GATES, r3.run)
    expect(log).toEqual(['r1', 'r2'])
    r1.end()
    expect(await first).toBe('r1')
    expect(log).toEqual(['r1', 'r2'])
    r2.end()
    expect(await second).toBe('r2')
    expect(log).toEqual(['r1', 'r2', 'w'])
    w.end()
    await write
    expect(log).toEqual(['r1', 'r2', 'w', 'r3'])
    r3.end()
    expect(await third).toBe('r3')
  })

  it('does not depend on other weights', () => {
    const log: string[] = []
    void schedule(NO_GATES, gates(), work(log, 'a').run)
    void schedule(NO_GATES, gates(), work(log, 'b').run)
    expect(log).toEqual(['a', 'b'])
  })

  it('continues after an error', async () => {
    const [log, weights] = [[] as string[], gates()]
    const [a, b] = [work(log, 'a'), work(log, 'b')]
    const first = schedule(NO_GATES, weights, a.run)
    const second = schedule(NO_GATES, weights, b.run)
    const third = schedule(NO_GATES, weights, () => {
      throw new Error('at once')
    })
    a.fail(new Error('late'))
    await expect(first).rejects.toThrow('late')
    b.end()
    expect(await second).toBe('b')
    await expect(third).rejects.toThrow('at once')
    expect(await schedule(weights, weights, () => 'again')).toBe('again')
  })

  it('waits for all weights of a call', async () => {
    const [log, x, y] = [[] as string[], gates(), gates()]
    const [a, b] = [work(log, 'a'), work(log, 'b')]
    void schedule(NO_GATES, x, a.run)
    void schedule(NO_GATES, y, b.run)
    const both = schedule(NO_GATES, new Set([...x, ...y]), () => 'both')
    a.end()
    await flush()
    b.end()
    expect(await both).toBe('both')
  })

  it('drops a waiting call at once when it is aborted', async () => {
    const [log, weights, controller] = [[] as string[], gates(), new AbortController()]
    const a = work(log, 'a')
    const first = schedule(NO_GATES, weights, a.run)
    const second = schedule(NO_GATES, weights, work(log, 'b').run, controller.signal)
    const third = schedule(NO_GATES, weights, () => 'third')
    controller.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    a.end()
    await first
    expect(await third).toBe('third')
    expect(log).toEqual(['a'])
  })
})

describe('synchronous calls', () => {
  it('run if nothing conflicts', async () => {
    const [log, weights] = [[] as string[], gates()]
    const read = work(log, 'read')
    const pending = schedule(weights, NO_GATES, read.run)
    expect(scheduleSync('forwardSync()', weights, NO_GATES, () => 1)).toBe(1)
    read.end()
    await pending
  })

  it('report that they cannot wait', async () => {
    const [log, weights] = [[] as string[], gates()]
    const read = work(log, 'read')
    const pending = schedule(weights, NO_GATES, read.run)
    const busy = expect.objectContaining({
      code: 'busy',
      message: expect.stringContaining('await that call first'),
    })
    let error: unknown
    try {
      scheduleSync('stepSync()', NO_GATES, weights, () => 1)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toEqual(busy)
    read.end()
    await pending
    expect(scheduleSync('stepSync()', NO_GATES, weights, () => 1)).toBe(1)
  })

  it('that are small are queued in order', async () => {
    const [log, weights] = [[] as string[], gates()]
    runOrQueue(weights, () => log.push('now'))
    const write = work(log, 'write')
    const pending = schedule(NO_GATES, weights, write.run)
    runOrQueue(weights, () => log.push('later'))
    expect(log).toEqual(['now', 'write'])
    write.end()
    await pending
    expect(log).toEqual(['now', 'write', 'later'])
  })
})
