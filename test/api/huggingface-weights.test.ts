// How tensors of Hugging Face become weights of ours, and the other way round.
import { describe, expect, it } from 'vitest'
import { arange, type Tensor } from 'x-transformers'
import { type Rule, stepsOf } from '../../ts/huggingface/weights/rules.js'
import {
  joinRows,
  patches,
  reshaped,
  type Shape,
  same,
  splitByHead,
  splitRows,
  swapHalves,
  type Transform,
  transposed,
} from '../../ts/huggingface/weights/transforms.js'
import { expectThrows, numbers } from './helpers.js'

const sizeOf = (shape: Shape) => shape.reduce((a, b) => a * b, 1)

/** Tensors whose elements are all different. */
const counted = (shapes: readonly Shape[]): Tensor[] =>
  shapes.map((shape, i) =>
    arange(sizeOf(shape))
      .cast('f32')
      .add(1000 * i)
      .reshape(shape),
  )

/** Transforms, and shapes of weights that they make. */
const CASES: [name: string, how: Transform, ours: Shape[], theirs: Shape[]][] = [
  ['same', same, [[3, 2]], [[3, 2]]],
  [
    'rows of several weights',
    splitRows,
    [
      [4, 3],
      [2, 3],
      [2, 3],
    ],
    [[8, 3]],
  ],
  ['biases of several weights', splitRows, [[4], [2], [2]], [[8]]],
  [
    'rows of two tensors',
    joinRows,
    [[6, 2]],
    [
      [3, 2],
      [3, 2],
    ],
  ],
  ['biases of two tensors', joinRows, [[6]], [[3], [3]]],
  ['halves that change places', swapHalves, [[6, 2]], [[6, 2]]],
  ['a transposed matrix', transposed(), [[3, 2]], [[2, 3]]],
  ['its bias', transposed(), [[3]], [[3]]],
  [
    'columns of several weights',
    transposed(splitRows),
    [
      [2, 5],
      [2, 5],
    ],
    [[5, 4]],
  ],
  [
    'rows by head',
    splitByHead(2),
    [
      [6, 4],
      [6, 4],
      [6, 4],
    ],
    [[18, 4]],
  ],
  ['biases by head', splitByHead(2), [[6], [6], [6]], [[18]]],
  ['another shape', reshaped((ours) => [sizeOf(ours)]), [[2, 3]], [[6]]],
  ['patches', patches(3), [[2, 12]], [[2, 3, 2, 2]]],
]

describe('transforms of weights', () => {
  it.each(CASES)('can be undone: %s', (_, how, ours, theirs) => {
    expect(how.shapes(ours)).toEqual(theirs)
    const file = counted(theirs)
    const weights = how.load(file, ours)
    expect(weights.map(({ shape }) => shape)).toEqual(ours)
    const again = how.save(weights, theirs)
    expect(again.map(({ shape }) => shape)).toEqual(theirs)
    expect(again.map(numbers)).toEqual(file.map(numbers))
  })

  it('rows by head take those of each head in turn', () => {
    // two heads of one feature: q0 k0 v0 q1 k1 v1
    const [q, k, v] = splitByHead(2).load(counted([[6]]), [[2], [2], [2]]) as [
      Tensor,
      Tensor,
      Tensor,
    ]
    expect([q, k, v].map(numbers)).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ])
  })

  it('patches begin with the channels of their first pixel', () => {
    // 2 channels, patches of 2 x 2: a column is channel * 4 + row * 2 + column in the file
    const [weight] = patches(2).load(counted([[1, 2, 2, 2]]), [[1, 8]]) as [Tensor]
    expect(numbers(weight)).toEqual([0, 4, 1, 5, 2, 6, 3, 7])
  })
})

const shapes = (...names: string[]) => new Map(names.map((name) => [name, [1] as Shape]))

describe('rules of names', () => {
  const rules: Rule[] = [
    ['emb', 'token_emb'],
    ['layers.{n}.norm.*', 'layers.{2n}.norm.*'],
    ['layers.{n}.qkv', ['layers.{2n}.q', 'layers.{2n}.k'], splitRows],
    ['layers.{n}.mlp', 'layers.{2n+1}.ff'],
    ['head.*', '*'],
  ]

  it('are written out for each block, where the model has their weights', () => {
    const names = ['token_emb', 'layers.0.norm.weight', 'layers.2.norm.weight', 'layers.1.ff']
    const more = ['layers.2.norm.bias', 'layers.0.q', 'layers.0.k', 'bias']
    const steps = stepsOf(rules, 2, shapes(...names, ...more))
    expect(steps.map(({ theirs, ours }) => [...theirs, ...ours])).toEqual([
      ['emb', 'token_emb'],
      ['layers.0.norm.weight', 'layers.0.norm.weight'],
      ['layers.1.norm.weight', 'layers.2.norm.weight'],
      ['layers.1.norm.bias', 'layers.2.norm.bias'],
      ['layers.0.qkv', 'layers.0.q', 'layers.0.k'],
      ['layers.0.mlp', 'layers.1.ff'],
      ['head.bias', 'bias'],
    ])
  })

  it('are wrong where a weight has none, or two', () => {
    expectThrows(() => stepsOf(rules, 1, shapes('other')), 'internal', 'other has no rule')
    const twice: Rule[] = [...rules, ['again', 'token_emb']]
    expectThrows(() => stepsOf(twice, 1, shapes('token_emb')), 'internal', 'two rules')
  })
})
