// Malformed options and arguments: holes in arrays, lone surrogates, objects of classes.
import { describe, expect, it } from 'vitest'
import * as x from 'x-transformers'
import { ids, smallModel, smallNet } from './helpers.js'
import { continuous, masked } from './zoo.js'

const HALF = '\ud800'
const refused = (call: () => unknown, message: RegExp, code: string) =>
  expect(call).toThrowError(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  )

const leaf = () => x.ones([2], { requires_grad: true })

describe('a lone surrogate', () => {
  it('is invalid as a value and as a name of an option', () => {
    const make = (options: object) => () => new x.Decoder(options as never)
    refused(
      make({ dim: HALF, depth: 1 }),
      /dim: got "\\ud800", half of a surrogate pair/,
      'invalid_options',
    )
    refused(
      make({ dim: 16, depth: 1, custom_layers: ['a', HALF] }),
      /custom_layers/,
      'invalid_options',
    )
    refused(
      make({ dim: 16, depth: 1, [HALF]: 1 }),
      /"\\ud800" is not an option of Decoder/,
      'invalid_options',
    )
    refused(
      () => smallNet().forwardSync([[1]], { mask: { [HALF]: 1 } } as never),
      /mask/,
      'invalid_options',
    )
    const generate = () => smallModel().generateSync(ids(1, 2), 1, { seed: HALF } as never)
    refused(generate, /seed: got "\\ud800"/, 'invalid_options')
  })

  it('is invalid as a setting of an optimizer', async () => {
    const optimizer = new x.AdamW([leaf()])
    const set = () => {
      optimizer.lr = HALF as never
    }
    refused(set, /lr: got "\\ud800"/, 'invalid_options')
    refused(
      () => new x.AdamW([leaf()], { betas: [HALF, 0.9] } as never),
      /betas/,
      'invalid_options',
    )
    refused(() => x.constant({ lr: HALF } as never), /lr/, 'invalid_options')
    const { param_groups } = optimizer.stateDict()
    const state = { 0: { [HALF]: x.ones([2]) } }
    refused(
      () => optimizer.loadStateDict({ param_groups, state }),
      /no name of an average/,
      'invalid_checkpoint',
    )
  })

  it('is invalid as a key of a file', async () => {
    const bytes = await smallNet().saveBytes()
    const wanted = {
      code: 'invalid_argument',
      message: expect.stringContaining('key must be a string'),
    }
    await expect(x.loadTensors(bytes, { key: HALF })).rejects.toMatchObject(wanted)
    expect(() => x.loadTensorsSync(bytes, { key: HALF })).toThrowError(
      expect.objectContaining(wanted),
    )
  })
})

describe('a hole in an array', () => {
  it('is invalid as the length of an axis', () => {
    const shapes = [Object.assign(Array(2), { 1: 1 }), Object.assign(Array(3), [2]), Array(1)]
    for (const shape of shapes) {
      const makers = [
        () => x.zeros(shape),
        () => x.ones(shape),
        () => x.full(shape, 1),
        () => x.randint(0, 3, shape),
      ]
      for (const make of makers) refused(make, /whole numbers from 0.*undefined/, 'invalid_tensor')
      refused(
        () => x.ones([2]).reshape(shape),
        /whole numbers from -1.*undefined/,
        'invalid_tensor',
      )
    }
    const shape = Object.assign(Array(2), { 1: 2 })
    refused(() => x.tensor([1, 2], { shape }), /got \[undefined, 2\]/, 'invalid_tensor')
    // rejected without a loop over the array
    refused(() => x.zeros(Array(2 ** 32 - 1)), /at most 64 axes, got 4294967295/, 'invalid_tensor')
  })

  it('is invalid as an item of a list', () => {
    const betas = Object.assign(Array(2), { 1: 0.9 })
    refused(
      () => new x.Adam([leaf()], { betas }),
      /betas: got \[undefined,0.9\]/,
      'invalid_options',
    )
  })
})

describe('an error message', () => {
  it('describes the contents of arrays', () => {
    const make = (betas: unknown) => () => new x.Adam([leaf()], { betas } as never)
    refused(make([Number.NaN, () => 1]), /betas: got \[NaN,a function\]/, 'invalid_options')
    refused(make([x.ones([1]), smallNet()]), /betas: got \[a tensor,a model\]/, 'invalid_options')
    refused(make(['{"$value":"x"}', 'a "b"']), /betas: got \["\{\\"\$value\\/, 'invalid_options')
  })
})

describe('the second argument of a wrapper', () => {
  const wrappers: [string, (options: unknown) => unknown][] = [
    [
      'AutoregressiveWrapper',
      (options) => new x.AutoregressiveWrapper(smallNet(), options as never),
    ],
    [
      'ContinuousAutoregressiveWrapper',
      (options) => new x.ContinuousAutoregressiveWrapper(continuous(), options as never),
    ],
    [
      'NonAutoregressiveWrapper',
      (options) => new x.NonAutoregressiveWrapper(masked(), options as never),
    ],
  ]

  it.each(wrappers)('of %s must be an object of options', (name, make) => {
    const mistakes = [
      3,
      'x',
      'x'.repeat(100_000),
      true,
      [],
      new Map(),
      new Set(),
      new Date(0),
      () => {},
      smallNet(),
    ]
    for (const mistake of mistakes)
      refused(() => make(mistake), new RegExp(`the options of ${name}`), 'invalid_options')
    refused(
      () => make({ net: smallNet() }),
      /net is not an option.*first argument/,
      'invalid_options',
    )
    refused(() => make({ net: undefined }), /net is not an option/, 'invalid_options')
    refused(() => make({ '': 1 }), new RegExp(name), 'invalid_options')
  })

  it('may be null', () => {
    expect(new x.AutoregressiveWrapper(smallNet(), null as never).net).toBeInstanceOf(
      x.TransformerWrapper,
    )
  })
})

describe('many problems', () => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`name_${i}`, i]))

  it('in options are listed up to a maximum', () => {
    const { message, problems } = caught(
      () => new x.Decoder({ dim: 8, depth: 1, ...many(200) } as never),
    )
    expect(problems.length).toBe(200)
    expect(message).toContain('name_49')
    expect(message).not.toContain('name_50')
    expect(message.split('\n').at(-1)).toBe('and 150 more')
    expect(caught(() => new x.Decoder(many(100_000) as never)).message).toMatch(
      /got one with 100000 names$/,
    )
    const nested = () =>
      new x.TransformerWrapper({ num_tokens: 2, max_seq_len: 2, attn_layers: many(5000) } as never)
    expect(caught(nested).message).toMatch(/attn_layers.*an object with 5000 names/)
  })

  it('in a state dict are listed up to a maximum too', () => {
    const state = new Map(Array.from({ length: 200 }, (_, i) => [`name_${i}`, x.ones([1])]))
    const { message } = caught(() => smallNet().loadStateDict(state))
    expect(message).toContain('name_49 is not in this model\n  and 150 more')
    expect(message).not.toContain('name_50')
  })
})

function caught(call: () => unknown): x.XTransformersError {
  try {
    call()
  } catch (error) {
    return error as x.XTransformersError
  }
  throw new Error('nothing was thrown')
}

describe('an object of a class', () => {
  class Base {
    reads: string[] = []
    get dim() {
      this.reads.push('dim')
      return 16
    }
  }
  class Layers extends Base {
    #depth = 2
    get depth() {
      this.reads.push('depth')
      return this.#depth
    }
    set depth(depth: number) {
      this.#depth = depth
    }
    set only_set(_: number) {}
  }
  const layers = () => Object.defineProperty(new Layers(), 'reads', { enumerable: false })

  it('gives options by its accessors, each of which is read once', () => {
    const given = layers()
    expect(new x.Decoder(given as never).options).toMatchObject({ dim: 16, depth: 2 })
    expect(given.reads.sort()).toEqual(['depth', 'dim'])
  })

  it('is accepted for wrappers, for groups, and within options', async () => {
    class Wrapper {
      get pad_value() {
        return 3
      }
    }
    expect(new x.AutoregressiveWrapper(smallNet(), new Wrapper()).options).toMatchObject({
      pad_value: 3,
    })
    class Group {
      params = [leaf()]
      get lr() {
        return 0.5
      }
    }
    expect(new x.SGD([new Group()]).lr).toBe(0.5)
    class Call {
      get requires_grad() {
        return true
      }
    }
    expect(x.ones([2], new Call()).requires_grad).toBe(true)
  })

  it('is rejected if an accessor is not an option', () => {
    class Other extends Layers {
      get size() {
        return 1
      }
    }
    const other = Object.defineProperty(new Other(), 'reads', { enumerable: false })
    refused(() => new x.Decoder(other as never), /size: is not an option/, 'invalid_options')
  })

  it('passes on exceptions of its accessors', () => {
    const oops = new Error('oops')
    class Throws {
      get dim() {
        throw oops
      }
    }
    expect(() => new x.Decoder(new Throws() as never)).toThrow(oops)
  })
})

describe('groups of parameters', () => {
  it('may be any iterables', () => {
    const model = smallModel()
    function* own() {
      yield* model.parameters()
    }
    const sets = [
      new Set(model.parameters()),
      own(),
      model.parameters().values(),
      model.parameters(),
    ]
    for (const params of sets) {
      const optimizer = new x.SGD([{ params, lr: 0.25 }])
      expect(optimizer.param_groups[0]?.params).toEqual(model.parameters())
      expect(optimizer.lr).toBe(0.25)
    }
  })

  it('are rejected if they contain anything else', () => {
    for (const params of [3, 'x', new Float32Array(2), leaf(), undefined]) {
      refused(() => new x.SGD([{ params }] as never), /param_groups\[0\]/, 'invalid_argument')
    }
    refused(
      () => new x.SGD([{ params: new Set([3]) }] as never),
      /parameter 0 must be a Tensor/,
      'invalid_argument',
    )
  })
})
