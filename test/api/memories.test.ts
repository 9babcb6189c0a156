import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  Decoder,
  noGrad,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { expectClose, ids, numbers } from './helpers.js'

const recurrent = (options: object = {}, layers: object = {}) =>
  new TransformerWrapper({
    num_tokens: 11,
    max_seq_len: 8,
    max_mem_len: 8,
    attn_layers: new Decoder({
      dim: 16,
      depth: 2,
      heads: 2,
      attn_dim_head: 8,
      rel_pos_bias: true,
      ...layers,
    }),
    ...options,
  })

describe('memories', () => {
  it('contain the last positions of each layer’s input, and have no graph', async () => {
    const model = recurrent({ max_mem_len: 6 })
    const [logits, mems] = await model.forward(ids(2, 4), { return_mems: true })
    expect(logits.shape).toEqual([2, 4, 11])
    expect(mems.map((mem) => mem.shape)).toEqual([
      [2, 4, 16],
      [2, 4, 16],
    ])
    expect(mems.some((mem) => mem.requires_grad)).toBe(false)
    const [, more] = await model.forward(ids(2, 4), { mems, return_mems: true })
    expect(more.map((mem) => mem.shape[1])).toEqual([6, 6])
    // the newest ones are last
    const [newest, old] = [more[0]?.slice(1, 0, 2), mems[0]?.slice(1, 2, 4)]
    expect(numbers(newest as Tensor)).toEqual(numbers(old as Tensor))
  })

  it('extend beyond the segment', async () => {
    const model = recurrent()
    const [first, second] = [ids(1, 8).slice(1, 0, 4), ids(1, 8).slice(1, 4, 8)]
    const [, mems] = await model.forward(first, { return_mems: true })
    const alone = await model.forward(second)
    expect(numbers(await model.forward(second, { mems }))).not.toEqual(numbers(alone))
  })

  it('are shifted down by shift_mem_down layers', async () => {
    const [model, shifted] = [recurrent(), recurrent({ shift_mem_down: 1 })]
    shifted.loadStateDict(model.stateDict())
    const [, mems] = await model.forward(ids(1, 4), { return_mems: true })
    const got = await shifted.forward(ids(1, 4), { mems })
    expectClose(numbers(got), numbers(await model.forward(ids(1, 4), { mems: mems.toReversed() })))
  })

  it('are accepted by a loss and a generation', async () => {
    const net = recurrent()
    const model = new AutoregressiveWrapper(net)
    const [, mems] = await noGrad(() => net.forward(ids(2, 8), { return_mems: true }))
    const loss = await model.forward(ids(2, 8), { mems })
    await loss.backward()
    expect((await model.generate(ids(2, 3), 4, { mems })).shape).toEqual([2, 4])
  })

  it('are rejected if they have a wrong shape', async () => {
    const model = recurrent()
    const [, mems] = await model.forward(ids(1, 4), { return_mems: true })
    await expect(model.forward(ids(2, 4), { mems })).rejects.toThrow(/mems/)
    await expect(
      recurrent({ max_mem_len: null }).forward(ids(1, 4), { return_mems: true }),
    ).rejects.toThrow(/max_mem_len/)
  })
})
