// Several documents in one row: what `packed` makes, models see as documents of their own.
import { describe, expect, it } from 'vitest'
import { type AutoregressiveWrapper, noGrad, SGD } from 'x-transformers'
import { collatePacked, DataLoader, type PackedBatch, packed } from 'x-transformers/data'
import { Trainer } from 'x-transformers/train'
import { ids, numbers, smallModel, smallNet } from './helpers.js'

const DOCUMENTS = [
  [5, 6, 7, 1],
  [8, 9, 2],
  [3, 1, 4, 1, 5, 9],
  [2, 6],
]

/** All documents, in rows of nine ids, the last of which is padded. */
const loader = (batch_size = 3) =>
  new DataLoader(packed(DOCUMENTS, { length: 8, eos: 0, pad_id: 10 }), {
    batch_size,
    shuffle: false,
    collate_fn: collatePacked,
  })

async function onlyBatch(): Promise<PackedBatch> {
  for await (const batch of loader()) return batch
  throw new Error('there is no batch')
}

/** The documents as the rows have them, and how many tokens each predicts. */
async function parts(): Promise<{ ids: number[]; predicted: number }[]> {
  const [rows, { segment_ids }] = await onlyBatch()
  const segments = segment_ids.toArray() as number[][]
  return (rows.toArray() as number[][]).flatMap((row, r) => {
    const own = segments[r] as number[]
    const names = [...new Set(own)].filter((name) => name !== 0)
    return names.map((name) => {
      const of = row.filter((_, i) => own[i] === name)
      return { ids: of, predicted: of.length - 1 }
    })
  })
}

/** The mean loss of the documents one by one, by the tokens that they predict. */
async function separateLoss(model: AutoregressiveWrapper): Promise<number> {
  let [total, count] = [0, 0]
  for (const { ids: row, predicted } of await parts()) {
    if (predicted === 0) continue
    const loss = await noGrad(() => model.forward([row]))
    total += predicted * Number(loss.item())
    count += predicted
  }
  return total / count
}

describe('segment_ids', () => {
  it('give a loss what each document gives alone', async () => {
    for (const layers of [{}, { rotary_pos_emb: true, shift_tokens: 1 }]) {
      const model = smallModel(layers)
      const [rows, options] = await onlyBatch()
      const loss = await model.forward(rows, options)
      expect(loss.item()).toBeCloseTo(await separateLoss(model), 5)
      await loss.backward()
      expect(model.parameters().every(({ grad }) => grad !== null)).toBe(true)
    }
  })

  it('keep documents apart in the logits', async () => {
    const net = smallNet({ rotary_pos_emb: true })
    const row = ids(1, 7)
    const both = await net.forward(row, { segment_ids: [[1, 1, 1, 1, 2, 2, 2]] })
    const alone = await net.forward(row.slice(1, 4, 7))
    const second = numbers(both.slice(1, 4, 7))
    numbers(alone).forEach((value, i) => {
      expect(second[i]).toBeCloseTo(value, 5)
    })
    await expect(net.forward(row, { segment_ids: [[1, 1, 2, 1, 1, 1, 1]] })).rejects.toThrow(
      /segment_ids has 1 again at \[0, 3\]/,
    )
  })

  it('count in a run as the tokens that documents predict', async () => {
    const model = smallModel()
    const trainer = new Trainer(model, {
      data: loader(),
      optimizer: new SGD(model.parameters(), { lr: 0 }),
      steps: 1,
      // batches of two rows and of one: their losses count by predicted tokens
      eval: { data: loader(2) },
    })
    const done = await trainer.run()
    expect(done.eval_loss).toBeCloseTo(await separateLoss(model), 5)
  })
})

describe('lens', () => {
  it('count in a run as the tokens that they leave', async () => {
    const model = smallModel()
    const [rows, lens] = [ids(3, 9), [9, 4, 2]]
    const batches = [
      [rows.slice(0, 0, 2), { lens: lens.slice(0, 2) }],
      [rows.slice(0, 2, 3), { lens: lens.slice(2) }],
    ]
    const run = new Trainer(model, {
      data: batches,
      optimizer: new SGD(model.parameters(), { lr: 0 }),
      steps: 1,
      eval: { data: batches },
    })
    const losses = lens.map((length, row) =>
      model.forward(rows.slice(0, row, row + 1).slice(1, 0, length)),
    )
    const sums = (await Promise.all(losses)).map(
      (loss, row) => Number(loss.item()) * ((lens[row] as number) - 1),
    )
    const want = sums.reduce((a, b) => a + b, 0) / 12
    expect((await run.run()).eval_loss).toBeCloseTo(want, 5)
  })
})
