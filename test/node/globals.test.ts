// Built-ins that pages and old libraries modify: with the built package, in another process.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'x-transformers-globals-'))
afterAll(() => rmSync(folder, { recursive: true }))

/**
 * Values that are passed to the native side and back; printed as JSON at the end, where the
 * built-ins are restored.
 */
const PROGRAM = `
  const x = require('x-transformers')
  const path = ${JSON.stringify(join(folder, 'x'))}
  ;(async () => {
    x.manualSeed(3)
    const model = new x.AutoregressiveWrapper(new x.TransformerWrapper({
      num_tokens: 11, max_seq_len: 16, attn_layers: new x.Decoder({ dim: 16, depth: 2, heads: 2, rotary_pos_emb: true }) }))
    const optimizer = new x.AdamW([{ params: model.parameters(), lr: 0.01 }], { betas: [0.8, 0.9] })
    const ids = x.tensor(BigInt64Array.from({ length: 9 }, (_, i) => BigInt(i)), { shape: [1, 9] })
    const loss = await model.forward(ids)
    await loss.backward()
    await optimizer.step()
    await model.save(path + '.safetensors')
    const loaded = await x.load(path + '.safetensors')
    await optimizer.save(path + '.pt')
    await optimizer.load(path + '.pt')
    await optimizer.save(path + '.safetensors')
    await optimizer.load(path + '.safetensors')
    const typed = [new Float32Array([1, 2]), new Uint8Array([3]), new Float64Array([4])]
    const results = typed.map((data) => x.tensor(data).mul(2).sum(0).item())
    const shown = x.tensor([[1, 2], [3, 4]]).toString()
    const generated = await loaded.generate(ids, 3, { temperature: 0 })
    const all = [loss.item(), shown, loaded.options.net.options.num_tokens, [...(await generated.data())].map(String)]
    console.log([...all, ...results].map(String).join(' | '))
  })()`

const run = (before: string) =>
  execFileSync(process.execPath, ['-e', `${before}\n;${PROGRAM}`], { cwd: root, encoding: 'utf8' })

it.each([
  [
    'arrays with a toJSON, as Prototype.js gives them one',
    `Array.prototype.toJSON = function () { return '[' + this + ']' }`,
  ],
  [
    'objects with a toJSON',
    `Object.prototype.toJSON = function () { return 'an object' }
    Object.defineProperty(Object.prototype, 'toJSON', { enumerable: false })`,
  ],
  ['a subclass as Uint8Array', 'globalThis.Uint8Array = class extends Uint8Array {}'],
  [
    'a subclass of a subclass as Uint8Array',
    'globalThis.Uint8Array = class extends (class extends Uint8Array {}) {}',
  ],
])('gives the same with %s', (_, before) => {
  expect(run(before)).toBe(run(''))
})
