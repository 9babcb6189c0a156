import { describe, expect, it } from 'vitest'
import {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  CrossAttender,
  crossEntropy,
  Decoder,
  Encoder,
  type Ids,
  NonAutoregressiveWrapper,
  ones,
  randn,
  type Tensor,
  TransformerWrapper,
  tensor,
  ViTransformerWrapper,
  where,
  XTransformer,
} from 'x-transformers'
import { bytesInUse, numbers, smallModel, smallNet, VOCABULARY } from './helpers.js'

const LAYERS = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }
const i64 = (data: Parameters<typeof tensor>[0]) => tensor(data, { dtype: 'i64' })
const bool = (data: Parameters<typeof tensor>[0]) => tensor(data, { dtype: 'bool' })

const bothWays = () =>
  new XTransformer({
    dim: 16,
    enc_num_tokens: VOCABULARY,
    enc_depth: 1,
    enc_heads: 2,
    enc_max_seq_len: 8,
    dec_num_tokens: VOCABULARY,
    dec_depth: 1,
    dec_heads: 2,
    dec_max_seq_len: 8,
  })

const GREEDY = { temperature: 0 }

describe('arrays as ids', () => {
  const ROW = [1, 2, 3, 4]
  const WHOLE = [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
  ] as const

  it('are accepted by forward, generate, score and stream', async () => {
    const model = smallModel().eval()
    const x = i64([ROW])
    expect(numbers(await model.net.forward([ROW]))).toEqual(numbers(await model.net.forward(x)))
    expect(numbers(model.net.forwardSync([ROW]))).toEqual(numbers(model.net.forwardSync(x)))
    expect((await model.forward([ROW])).item()).toBe((await model.forward(x)).item())
    expect(model.forwardSync([ROW]).item()).toBe(model.forwardSync(x).item())
    const want = numbers(await model.generate(i64(ROW), 3, GREEDY))
    expect(numbers(await model.generate(ROW, 3, GREEDY))).toEqual(want)
    expect(numbers(model.generateSync(ROW, 3, GREEDY))).toEqual(want)
    const own = (logits: Tensor) => logits
    expect(numbers(model.generateSync(ROW, 3, { ...GREEDY, filter_logits_fn: own }))).toEqual(want)
    const streamed: number[] = []
    for await (const token of model.stream(ROW, 3, GREEDY)) streamed.push(token)
    expect(streamed).toEqual(want)
    expect((await model.score(ROW)).perplexity.item()).toBe(
      (await model.score(i64(ROW))).perplexity.item(),
    )
    expect(model.scoreSync([ROW]).perplexity.shape).toEqual([1])
  })

  it('may be typed arrays of integers, and bigints', async () => {
    const model = smallModel()
    const want = numbers(await model.generate(i64(ROW), 3, GREEDY))
    for (const Class of WHOLE)
      expect(numbers(await model.generate(Class.from(ROW), 3, GREEDY))).toEqual(want)
    for (const Class of [BigInt64Array, BigUint64Array])
      expect(numbers(await model.generate(Class.from(ROW.map(BigInt)), 3, GREEDY))).toEqual(want)
    expect(numbers(await model.generate([ROW.map(BigInt)], 3, GREEDY))).toEqual(want)
  })

  it('are accepted by an encoder with a decoder', async () => {
    const model = bothWays().eval()
    const [src, tgt] = [[[1, 2, 3]], [[4, 5, 6]]]
    const mask = [[true, true, false]]
    const tensors = { mask: bool(mask) }
    expect((await model.forward(src, tgt, { mask })).item()).toBe(
      (await model.forward(i64(src), i64(tgt), tensors)).item(),
    )
    const want = numbers(await model.generate(i64(src), i64(tgt), 3, { ...GREEDY, ...tensors }))
    expect(numbers(await model.generate(src, tgt, 3, { ...GREEDY, mask }))).toEqual(want)
    expect(numbers(model.generateSync(src, tgt, 3, { ...GREEDY, mask }))).toEqual(want)
    const streamed: number[] = []
    for await (const token of model.stream(src, tgt, 3, { ...GREEDY, mask })) streamed.push(token)
    expect(streamed).toEqual(want)
    expect((await model.score(src, tgt, { mask })).perplexity.shape).toEqual([1])
  })

  it('are accepted by masked generation, and as positions, targets and indices', async () => {
    const net = new TransformerWrapper({
      num_tokens: 12,
      max_seq_len: 4,
      attn_layers: new Encoder(LAYERS),
    })
    const model = new NonAutoregressiveWrapper(net, { mask_id: 11, steps: 2, schedule: 'linear' })
    expect(Number((await model.forward([ROW])).loss.item())).toBeGreaterThan(0)
    const pos = [3, 2, 1, 0]
    expect(numbers(await net.forward([ROW], { pos }))).toEqual(
      numbers(await net.forward(i64([ROW]), { pos: i64(pos) })),
    )
    const logits = tensor([
      [1, 2, 3],
      [3, 2, 1],
    ])
    expect(crossEntropy(logits, [2, 0]).item()).toBe(crossEntropy(logits, i64([2, 0])).item())
    expect(logits.crossEntropy(Uint8Array.of(2, 0)).item()).toBe(
      crossEntropy(logits, i64([2, 0])).item(),
    )
    expect(logits.gather(1, [[2], [0]]).toArray()).toEqual([[3], [3]])
  })

  it('are freed after the call', async () => {
    const model = smallModel()
    const long = Array.from({ length: 4000 }, () => ROW)
    const table = ones([4001, 4])
    const calls = [
      async () => (await model.net.forward([ROW])).dispose(),
      async () => (await model.generate(ROW, 2)).dispose(),
      async () => {
        for await (const token of model.stream(ROW, 2)) expect(token).toBeGreaterThanOrEqual(0)
      },
      async () => expect(() => table.gather(1, [...long, [9, 9, 9, 9]])).toThrow(/out of range/),
      async () => expect(model.forward(long, { maks: 1 } as never)).rejects.toThrow(/maks/),
    ]
    for (const call of calls) {
      await call()
      const before = bytesInUse()
      for (let i = 0; i < 5; i++) await call()
      expect(bytesInUse() - before).toBeLessThan(64 * 1024)
    }
  })
})

describe('arrays as masks', () => {
  it('contain booleans, or 0 and 1', async () => {
    const model = smallModel().eval()
    const x = i64([[1, 2, 3]])
    const want = numbers(await model.net.forward(x, { mask: bool([[true, true, false]]) }))
    for (const mask of [[[true, true, false]], [[1, 1, 0]]]) {
      expect(numbers(await model.net.forward(x, { mask }))).toEqual(want)
      expect(numbers(model.net.forwardSync(x, { mask }))).toEqual(want)
    }
    const generated = numbers(
      await model.generate(x, 2, { ...GREEDY, mask: bool([[true, true, false]]) }),
    )
    expect(
      numbers(await model.generate([1, 2, 3], 2, { ...GREEDY, mask: [true, true, false] })),
    ).toEqual(generated)
    expect(
      numbers(await model.generate([1, 2, 3], 2, { ...GREEDY, mask: Uint8Array.of(1, 1, 0) })),
    ).toEqual(generated)
    expect((await model.score(x, { mask: [[true, true, false]] })).log_probs.shape).toEqual([1, 2])
    expect(where([true, false], ones([2]), 3).toArray()).toEqual([1, 3])
  })

  it('are accepted for contexts and for pairs of positions', async () => {
    const cross = new CrossAttender(LAYERS)
    const [x, context] = [randn([1, 2, 16]), randn([1, 3, 16])]
    expect(
      numbers(await cross.forward(x, { context, context_mask: [[true, false, true]] })),
    ).toEqual(
      numbers(await cross.forward(x, { context, context_mask: bool([[true, false, true]]) })),
    )
    const attn_mask = [
      [true, false],
      [true, true],
    ]
    const encoder = new Encoder(LAYERS)
    expect(numbers(await encoder.forward(x, { attn_mask }))).toEqual(
      numbers(await encoder.forward(x, { attn_mask: bool(attn_mask) })),
    )
  })
})

describe('arrays as vectors', () => {
  it('are accepted by models over vectors', async () => {
    const row = (scale: number) => Array.from({ length: 16 }, (_, i) => Math.sin(i) * scale)
    const x = [[row(1), row(2)]]
    const decoder = new Decoder(LAYERS)
    expect(numbers(await decoder.forward(x))).toEqual(numbers(await decoder.forward(tensor(x))))
    const net = new ContinuousTransformerWrapper({
      dim_in: 16,
      dim_out: 16,
      max_seq_len: 8,
      attn_layers: decoder,
    })
    expect((await new ContinuousAutoregressiveWrapper(net).generate(x, 2)).shape).toEqual([
      1, 2, 16,
    ])
    const vit = new ViTransformerWrapper({
      image_size: 4,
      patch_size: 4,
      num_classes: 3,
      channels: 1,
      attn_layers: new Encoder(LAYERS),
    })
    const image = [1, 2, 3, 4].map((scale) => row(scale).slice(0, 4))
    expect((await vit.forward([[image]])).shape).toEqual([1, 3])
  })
})

describe('an error about an array', () => {
  const net = smallNet()
  const cases: [what: string, x: unknown, options: object, message: RegExp][] = [
    ['a row that is shorter', [[1, 2], [3]], {}, /^x: nested arrays must be rectangular/],
    ['a fraction', [[1, 2.5]], {}, /^x: an i64 tensor holds whole numbers, got 2.5/],
    ['booleans', [[true, false]], {}, /^x: ids are whole numbers, got booleans/],
    ['a string', [['a']], {}, /^x.*must be a number.*"a"/],
    ['a tensor in a list', [ones([2])], {}, /^x\[0\] is a Tensor: give one tensor/],
    [
      'floating-point numbers',
      Float32Array.of(1, 2),
      {},
      /^x: ids are whole numbers, got a Float32Array/,
    ],
    ['a DataView', new DataView(new ArrayBuffer(8)), {}, /^x: a DataView/],
    [
      'no batch axis',
      [1, 2],
      {},
      /must be i64 of shape \(batch, length\), got i64 of shape \[2\]: one row is/,
    ],
    [
      'a mask of other numbers',
      [[1, 2]],
      { mask: [[1, 2]] },
      /^mask: a bool tensor holds whole numbers from 0 to 1, got 2/,
    ],
    [
      'a mask of floats',
      [[1, 2]],
      { mask: Float32Array.of(1, 0) },
      /^mask: a mask is of booleans, got a Float32Array/,
    ],
    ['positions that are fractions', [[1, 2]], { pos: [0.5, 1] }, /^pos: an i64 tensor/],
  ]
  it.each(cases)('%s', async (_, x, options, message) => {
    await expect(net.forward(x as Ids, options)).rejects.toThrow(message)
    expect(() => net.forwardSync(x as Ids, options)).toThrow(message)
  })
})

describe('a stream', () => {
  it('does not need its prompt once it was created', async () => {
    const model = smallModel()
    const prompt = i64([1, 2, 3])
    const stream = model.stream(prompt, 2, GREEDY)
    prompt.dispose()
    const tokens: number[] = []
    for await (const token of stream) tokens.push(token)
    expect(tokens).toHaveLength(2)
  })
})

describe('errors about types', () => {
  const model = smallModel()
  const f32 = ones([1, 3])

  it('of ids say how to create ids', async () => {
    const remedy = /must be i64.*got f32.*\{ dtype: 'i64' \}.*\.to\('i64'\)/
    for (const call of [
      () => model.net.forward(f32),
      () => model.forward(f32),
      () => model.generate(f32, 2),
      () => model.score(f32),
      () => bothWays().forward(f32, f32),
    ])
      await expect(call()).rejects.toThrow(remedy)
    await expect(async () => {
      for await (const _ of model.stream(f32, 2)) expect.unreachable()
    }).rejects.toThrow(remedy)
    const filling = new NonAutoregressiveWrapper(
      new TransformerWrapper({ num_tokens: 12, max_seq_len: 3, attn_layers: new Encoder(LAYERS) }),
      { mask_id: 11 },
    )
    await expect(filling.forward(f32)).rejects.toThrow(remedy)
    await expect(filling.forward([[1, 2, 12]])).rejects.toThrow(/token id 12 at \[0, 2\]/)
    expect(() => crossEntropy(randn([2, 3]), ones([2]))).toThrow(/must be i64.*\.to\('i64'\)/)
    expect(() => randn([2, 3]).gather(1, ones([2, 1]))).toThrow(/must be i64.*\.to\('i64'\)/)
  })

  it('of masks say how to create a mask, for every mask argument', async () => {
    const x = i64([[1, 2, 3]])
    const remedy = /mask must be bool, got (i64|f32): compare it \(`mask.ne\(0\)`\).*dtype: 'bool'/
    const mask = i64([[1, 1, 1]])
    for (const call of [
      () => model.net.forward(x, { mask }),
      () => model.net.forward(x, { mask: ones([1, 3]) }),
      () => model.net.forward(x, { attn_mask: ones([3, 3]) }),
      () => model.net.forward(x, { self_attn_context_mask: mask }),
      () => model.generate(x, 2, { mask }),
      () => model.generate(x, 2, { self_attn_context_mask: mask }),
      () => model.score(x, { mask }),
      () => bothWays().generate(x, x, 2, { mask }),
      () => new Encoder(LAYERS).forward(randn([1, 3, 16]), { mask }),
      () =>
        new CrossAttender(LAYERS).forward(randn([1, 3, 16]), {
          context: randn([1, 3, 16]),
          context_mask: mask,
        }),
    ])
      await expect(call()).rejects.toThrow(remedy)
    expect(() => where(ones([2]), 1, 2)).toThrow(/must be bool, got f32: compare it/)
  })

  it('of vectors name the type of the weights', async () => {
    const x = i64([[1, 2, 3]])
    const decoder = new Decoder(LAYERS)
    const continuous = new ContinuousTransformerWrapper({
      dim_in: 3,
      dim_out: 3,
      max_seq_len: 8,
      attn_layers: decoder,
    })
    for (const dtype of ['f64', 'f16', 'bf16'] as const) {
      const like = (shape: number[]) => randn(shape).to(dtype)
      const says = (name: string) =>
        new RegExp(`^${name} is ${dtype}, the weights are f32: convert it with .*to\\('f32'\\)`)
      await expect(decoder.forward(like([1, 2, 16]))).rejects.toThrow(says('x'))
      await expect(continuous.forward(like([1, 2, 3]))).rejects.toThrow(says('x'))
      await expect(
        new ContinuousAutoregressiveWrapper(continuous).generate(like([1, 2, 3]), 2),
      ).rejects.toThrow(says('x'))
      for (const name of ['prepend_embeds', 'sum_embeds', 'pos'])
        await expect(model.net.forward(x, { [name]: like([1, 3, 16]) })).rejects.toThrow(says(name))
      await expect(model.net.forward(x, { mems: [like([1, 2, 16])] })).rejects.toThrow(says('mems'))
      const cross = new CrossAttender(LAYERS)
      await expect(cross.forward(randn([1, 2, 16]), { context: like([1, 2, 16]) })).rejects.toThrow(
        says('context'),
      )
    }
  })
})

describe('an id that is not in the vocabulary', () => {
  const says = (id: number, ...place: number[]) =>
    new RegExp(
      `token id ${id} at \\[${place.join(', ')}\\] is not in the vocabulary: .num_tokens. is ${VOCABULARY}, .*0 to 10`,
    )

  it.each([VOCABULARY, -1, -100])('is reported with its position: %i', async (id) => {
    const model = smallModel()
    const x = [
      [1, 2, 3],
      [4, id, 5],
    ]
    const last = [
      [1, 2, 3],
      [4, 5, id],
    ]
    await expect(model.net.forward(x)).rejects.toThrow(says(id, 1, 1))
    await expect(model.forward(x)).rejects.toThrow(says(id, 1, 1))
    await expect(model.generate(x, 2)).rejects.toThrow(says(id, 1, 1))
    await expect(model.score(x)).rejects.toThrow(says(id, 1, 1))
    await expect(model.generate(last, 2)).rejects.toThrow(says(id, 1, 2))
    if (id !== -100) {
      await expect(model.forward(last)).rejects.toThrow(says(id, 1, 2))
      await expect(model.score(last)).rejects.toThrow(says(id, 1, 2))
    }
    await expect(async () => {
      for await (const _ of model.stream<number[]>(x, 2)) expect.unreachable()
    }).rejects.toThrow(says(id, 1, 1))
    const mask = [
      [false, true, true],
      [false, true, true],
    ]
    await expect(model.generate(last, 2, { mask })).rejects.toThrow(says(id, 1, 2))
    await expect(model.score(x, { mask })).rejects.toThrow(says(id, 1, 1))
    await expect(
      bothWays().forward(x, [
        [1, 2],
        [3, 4],
      ]),
    ).rejects.toThrow(says(id, 1, 1))
  })

  it('is allowed where a mask hides it, or as a target equal to ignore_index', async () => {
    const model = smallModel()
    const masked = { mask: [[true, true, false]] }
    expect((await model.generate([[1, 2, 99]], 2, masked)).shape).toEqual([1, 2])
    expect((await model.score([[1, 2, 99]], masked)).perplexity.item()).toBeGreaterThan(0)
    expect((await model.forward([[1, 2, -100]])).item()).toBeGreaterThan(0)
  })

  it('is reported in the same way for a position beyond max_seq_len', async () => {
    await expect(smallNet().forward([[1, 2]], { pos: [0, 99] })).rejects.toThrow(
      /pos has 99: positions go from 0 to 15/,
    )
  })
})

describe('option names of other libraries', () => {
  const made = (options: object) => () => new Decoder({ dim: 16, depth: 1, ...options } as never)

  it('are explained', () => {
    expect(made({ attn_flash: true })).toThrow(/attn_flash: is not needed: .*always on here/)
    expect(made({ attn_pre_talking_heads: true })).toThrow(
      /x-transformers 2\.x, not in 1\.9\.2; `attn_talking_heads` is/,
    )
    expect(made({ unet_skips: true })).toThrow(/unet_skips: .*x-transformers 2\.x, not in 1\.9\.2/)
    expect(() => new AutoregressiveWrapper(smallNet(), { add_attn_z_loss: true } as never)).toThrow(
      /2\.x/,
    )
    expect(() => new Decoder({ d_model: 16, n_layer: 2 } as never)).toThrow(
      /d_model.*`dim`[\s\S]*n_layer.*`depth`/,
    )
    expect(made({ n_head: 2 })).toThrow(/did you mean `heads`/)
  })

  it('are explained for generation too', async () => {
    const model = smallModel()
    await expect(model.generate([1], 2, { top_p: 0.9 } as never)).rejects.toThrow(
      /did you mean `nucleus_p`/,
    )
    await expect(model.generate([1], 2, { lens: [1] } as never)).rejects.toThrow(
      /did you mean `prompt_lens`/,
    )
    await expect(model.generate([1], 2, { attention_mask: 1 } as never)).rejects.toThrow(
      /did you mean `mask`/,
    )
  })

  it('invalid values such as a length of 0 are reported with the allowed ones', () => {
    const attn_layers = new Encoder(LAYERS)
    expect(() => new TransformerWrapper({ num_tokens: 0, max_seq_len: 4, attn_layers })).toThrow(
      /num_tokens: got 0; allowed: a whole number >= 1/,
    )
    expect(() => new TransformerWrapper({ num_tokens: 11, max_seq_len: -1, attn_layers })).toThrow(
      /max_seq_len: got -1; allowed: a whole number >= 0/,
    )
    for (const options of [
      { dim: 0 },
      { depth: -1 },
      { depth: 0 },
      { heads: 0 },
      { heads: 1.5 },
      { attn_dim_head: 0 },
    ])
      expect(made(options)).toThrow(/got .*; allowed: a whole number >= 1/)
  })
})
