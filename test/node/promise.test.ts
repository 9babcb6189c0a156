// A page, or a framework such as Angular, may replace the global Promise before the library is
// loaded: with the built package, in another process.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Gate, NO_GATES, schedule } from '../../ts/tensor/schedule.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A Promise with the methods of ES2015 only: neither `finally` nor `allSettled`. */
const OLD = `
  class Old {
    #state = 'pending'
    #value
    #waiting = []
    constructor(start) {
      const reject = (error) => this.#settle('rejected', error)
      const resolve = (value) => {
        let then
        try { then = Object(value) === value && value.then } catch (error) { return reject(error) }
        if (typeof then === 'function') then.call(value, resolve, reject)
        else this.#settle('fulfilled', value)
      }
      try { start(resolve, reject) } catch (error) { reject(error) }
    }
    #settle(state, value) {
      if (this.#state !== 'pending') return
      this.#state = state
      this.#value = value
      for (const go of this.#waiting) queueMicrotask(go)
    }
    then(done, failed) {
      return new Old((resolve, reject) => {
        const go = () => {
          const next = this.#state === 'fulfilled' ? done : failed
          if (typeof next !== 'function') return (this.#state === 'fulfilled' ? resolve : reject)(this.#value)
          try { resolve(next(this.#value)) } catch (error) { reject(error) }
        }
        if (this.#state === 'pending') this.#waiting.push(go)
        else queueMicrotask(go)
      })
    }
    catch(failed) { return this.then(undefined, failed) }
    static resolve(value) { return new Old((resolve) => resolve(value)) }
    static reject(error) { return new Old((_, reject) => reject(error)) }
    static race(all) { return new Old((...both) => { for (const one of all) Old.resolve(one).then(...both) }) }
    static all(all) {
      return new Old((resolve, reject) => {
        const values = []
        let left = 1
        const end = () => { if (--left === 0) resolve(values) }
        for (const [i, one] of [...all].entries()) {
          left++
          Old.resolve(one).then((value) => { values[i] = value; end() }, reject)
        }
        end()
      })
    }
  }`

/** Code before the import. */
const REPLACEMENTS = {
  'a subclass': 'globalThis.Promise = class extends Promise {}',
  'zone.js': `
    require('zone.js/node')
    if (!('__zone_symbol__state' in new Promise(() => {}))) throw new Error('zone.js has replaced nothing')`,
  'one of ES2015': `${OLD}; globalThis.Promise = Old`,
  'one of ES2015, after the import': `
    ${OLD}
    for (const name of ['x-transformers', 'x-transformers/worker']) require(name)
    globalThis.Promise = Old`,
  'an old one':
    'for (const name of ["allSettled", "any"]) delete Promise[name]; delete Promise.prototype.finally',
  'that of another realm': `globalThis.Promise = require('node:vm').runInNewContext('Promise')`,
}

const MODEL = `
  const LAYERS = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8, ff_dropout: 0.1 }
  const NET = { num_tokens: 11, max_seq_len: 16 }
  const build = ({ Decoder, TransformerWrapper, AutoregressiveWrapper }) =>
    new AutoregressiveWrapper(new TransformerWrapper({ ...NET, attn_layers: new Decoder(LAYERS) }))
  const data = BigInt64Array.from({ length: 18 }, (_, i) => BigInt((i * 7 + 3) % 11))
`

/** Awaits nothing except what the next call needs. */
const TRAINING = `
  const x = require('x-transformers')
  ${MODEL}
  async function main() {
    x.manualSeed(7)
    const model = build(x)
    const optimizer = new x.AdamW(model.parameters(), { lr: 0.05 })
    const tokens = x.tensor(data, { shape: [2, 9] })
    const losses = []
    const calls = []
    for (let step = 0; step < 5; step++) {
      const loss = await model.forward(tokens)
      calls.push(loss.backward(), x.clipGradNorm(model.parameters(), 0.5), optimizer.step())
      optimizer.zeroGrad()
      losses.push(loss.item())
    }
    const pieces = []
    const saved = model.save(new WritableStream({ write: (piece) => void pieces.push(piece) }))
    await Promise.all(calls)
    await saved
    const { tensors } = await x.loadTensors(new Blob(pieces))
    if (tensors.size !== model.stateDict().size) throw new Error('not all was saved')
    return [losses, Buffer.concat(pieces).toString('base64')]
  }
`

const IN_WORKER = `
  const { spawn, tensor } = require('x-transformers/worker')
  ${MODEL}
  async function main() {
    const x = await spawn()
    x.manualSeed(7)
    const model = build(x)
    const optimizer = new x.AdamW(model, { lr: 0.05 })
    const batches = [[tensor(data, { shape: [2, 9] })]]
    const pending = Array.from({ length: 5 }, () => x.trainStep({ model, optimizer, batches, max_grad_norm: 0.5 }))
    const bytes = model.saveBytes()
    const losses = (await Promise.all(pending)).map(({ loss }) => loss)
    const result = [losses, Buffer.from(await bytes).toString('base64')]
    x.terminate()
    return result
  }
`

async function run(before: string, program: string): Promise<unknown[]> {
  const code = `${before}\n;${program}\n;main().then((result) => console.log(JSON.stringify(result)))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', code], { cwd: root })
  return JSON.parse(stdout)
}

describe.each([
  ['on this thread', TRAINING],
  ['behind the port of a worker', IN_WORKER],
])('calls that are not awaited, %s', (_, program) => {
  it('run in order with any global Promise', async () => {
    const [losses, weights] = await run('', program)
    expect(new Set(losses as number[]).size).toBe(5)
    for (const [name, before] of Object.entries(REPLACEMENTS)) {
      expect(await run(before, program), name).toEqual([losses, weights])
    }
  })
})

/** All background work of a process with files and values. */
const FILES = `
  const x = require('x-transformers')
  ${MODEL}
  async function main() {
    const path = require('node:path').join(folder, 'x.safetensors')
    const model = build(x)
    const optimizer = new x.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
    const failed = await model.save(folder).then(() => 'saved', ({ code }) => code)
    await Promise.all([1, 2, 3].map((value) => x.saveTensors({ x: x.full([2], value) }, path)))
    const values = await (await x.loadTensors(path)).tensors.get('x').data()
    x.saveTensorsSync({ x: x.full([2], 4) }, path)
    await model.save(path)
    const { missing } = await model.loadWeights(path)
    await optimizer.save(path)
    await optimizer.load(path)
    let tokens = 0
    for await (const _ of model.stream(x.tensor(data.slice(0, 2), { shape: [1, 2] }), 3)) tokens++
    return [failed, [...values], missing, tokens]
  }
`

describe('files, values and streams', () => {
  it.each(Object.entries(REPLACEMENTS))('do not use the global Promise: %s', async (_, before) => {
    const folder = mkdtempSync(join(tmpdir(), 'x-transformers-promise-'))
    try {
      const plain = `const folder = ${JSON.stringify(folder)};`
      expect(await run(`${plain} ${before}`, FILES)).toEqual(await run(plain, FILES))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('an awaited call', () => {
  it('only needs the then method of its promise', async () => {
    const gates = new Set([new Gate()])
    const log: string[] = []
    const then = (done: (value: string) => void) =>
      void setTimeout(() => {
        log.push('first')
        done('value')
      }, 20)
    const first = schedule(NO_GATES, gates, () => ({ then }) as unknown as PromiseLike<string>)
    const second = schedule(NO_GATES, gates, () => log.push('second'))
    expect(await Promise.all([first, second])).toEqual(['value', 2])
    expect(log).toEqual(['first', 'second'])
  })
})
