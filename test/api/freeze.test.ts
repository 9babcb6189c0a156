import { describe, expect, it } from 'vitest'
import { AdamW, Module, randn, TransformerWrapper, trainStep } from 'x-transformers'
import { Trainer } from 'x-transformers/train'
import { ids, numbers, smallModel } from './helpers.js'
import { encoder } from './zoo.js'

const frozen = (model: Module) =>
  [...model.namedParameters()].flatMap(([name, p]) => (p.requires_grad ? [] : name))

describe('freeze', () => {
  it('takes all names that a text with stars fits, or a regular expression', () => {
    const model = smallModel()
    const names = [...model.namedParameters().keys()]
    const embeddings = names.filter((name) => name.startsWith('net.token_emb.'))
    expect(model.freeze('net.token_emb.*')).toEqual(embeddings)
    expect(frozen(model)).toEqual(embeddings)
    const biases = names.filter((name) => name.endsWith('.bias'))
    expect(model.freeze('*.bias')).toEqual(biases)
    // those that are frozen already are not told again
    expect(model.freeze(/token_emb|bias$/)).toEqual([])
    expect(model.unfreeze('*.bias')).toEqual(biases)
    expect(frozen(model)).toEqual(embeddings)
    expect(model.unfreeze()).toEqual(embeddings)
    expect(model.freeze()).toEqual(names)
    expect(model.unfreeze(/./g)).toEqual(names)
    const [name] = names as [string]
    expect(model.freeze(`${name.slice(0, -1)}?`)).toEqual([name])
  })

  it('reads a text as a whole, and dots as dots', () => {
    class Own extends Module {
      weight = randn([2], { requires_grad: true })
      weights = [randn([2], { requires_grad: true }), randn([2], { requires_grad: true })]
      async forward() {}
    }
    const model = new Own()
    expect(model.freeze('weight')).toEqual(['weight'])
    expect(model.freeze('weights?*')).toEqual(['weights.0', 'weights.1'])
    expect(model.unfreeze('*')).toEqual(['weight', 'weights.0', 'weights.1'])
    expect(model.freeze('**e*t*s*.1')).toEqual(['weights.1'])
    for (const none of ['weight.', 'eight', 'weights.?0', 'weights.', /^s/, '?'])
      expect(() => model.freeze(none)).toThrow(/no parameter has a name like .*weights.0/)
    for (const wrong of ['', 1, {}, []])
      expect(() => model.freeze(wrong as never)).toThrow(/a pattern of names/)
    const slow = `${'*a'.repeat(50)}b`
    const long = Object.assign(new Own(), {
      ['a'.repeat(2000)]: randn([1], { requires_grad: true }),
    })
    expect(() => long.freeze(slow)).toThrow(/no parameter/)
  })

  it('means a parameter by each of its names', () => {
    const model = new TransformerWrapper({
      ...{ num_tokens: 11, max_seq_len: 8, tie_embedding: true, attn_layers: encoder() },
    })
    const tied = [...model.stateDict().keys()].filter((name) => name.startsWith('to_logits'))
    const changed = model.freeze('token_emb.*')
    expect(changed.filter((name) => name.startsWith('token_emb.'))).toHaveLength(1)
    expect(tied.length === 0 || model.unfreeze('to_logits.*').length > 0).toBe(true)
  })

  it('keeps weights as they are through steps and runs, and lets them go on', async () => {
    const model = smallModel()
    const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
    const names = model.freeze('net.attn_layers.*')
    const snapshot = () =>
      new Map([...model.namedParameters()].map(([name, p]) => [name, String(numbers(p))]))
    const before = snapshot()
    await new Trainer(model, { data: [[ids(2, 9)]], optimizer, steps: 2 }).run()
    const after = snapshot()
    for (const [name, values] of before)
      expect(after.get(name) === values, name).toBe(names.includes(name))
    expect(model.unfreeze('net.attn_layers.*')).toEqual(names)
    await trainStep(model, optimizer, [[ids(2, 9)]])
    const last = snapshot()
    for (const name of names) expect(last.get(name), name).not.toBe(after.get(name))
  })
})
