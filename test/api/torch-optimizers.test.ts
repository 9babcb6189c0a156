// Training runs of PyTorch continued here, and optimizer states in its format
// (test/checkpoints/training.py).
import { describe, expect, it } from 'vitest'
import {
  Adafactor,
  Adam,
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  full,
  loadTensors,
  Muon,
  SGD,
  type Tensor,
  TransformerWrapper,
  tensor,
  zeros,
} from 'x-transformers'
import { expectError, FakeFile } from './bytes.js'
import { bytesInUse, expectClose, numbers, smallModel } from './helpers.js'
import { recorded, recordedJson } from './recorded.js'

interface Row {
  class: keyof typeof CLASSES
  shapes: number[][]
  groups: number[][]
  without: number[]
  settings: Record<string, unknown>[]
  start: number[][]
  steps: { gradients: number[][]; weights: number[][] }[]
}

interface LanguageRun {
  options: { num_tokens: number; max_seq_len: number }
  layers: { dim: number; depth: number; heads: number; attn_dim_head: number; ff_mult: number }
  tokens: number[][]
  losses: number[]
}

interface Training {
  optimizers: Record<string, Row>
  nanogpt: LanguageRun
}

const training = () => recordedJson<Training>('training.json')
const CLASSES = { SGD, Adam, AdamW, Muon, Adafactor }
type Any = InstanceType<(typeof CLASSES)[keyof typeof CLASSES]>

const NAMES = ['sgd', 'momentum', 'nesterov', 'adam', 'adamw', 'muon', 'adafactor']
/** Settings that differ from those of every file. */
const OTHERS = { lr: 7, weight_decay: 0.9 }

const rowOf = async (name: string) => (await training()).optimizers[name] as Row

function make(row: Row): { parameters: Tensor[]; optimizer: Any } {
  const parameters = row.start.map((values, i) =>
    tensor(new Float32Array(values), { shape: row.shapes[i] as number[], requires_grad: true }),
  )
  const groups = row.groups.map((places) => ({
    params: places.map((i) => parameters[i] as Tensor),
  }))
  const Class = CLASSES[row.class] as typeof AdamW
  return { parameters, optimizer: new Class(groups, OTHERS) }
}

async function expectContinues(
  row: Row,
  { parameters, optimizer }: ReturnType<typeof make>,
  tolerance = 1e-5,
): Promise<void> {
  for (const { gradients, weights } of row.steps) {
    for (const [i, parameter] of parameters.entries()) {
      const values = new Float32Array(gradients[i] as number[])
      parameter.grad = row.without.includes(i)
        ? null
        : tensor(values, { shape: row.shapes[i] as number[] })
    }
    await optimizer.step()
    for (const [i, parameter] of parameters.entries())
      expectClose(numbers(parameter), weights[i] as number[], tolerance)
  }
}

/** The settings of PyTorch that exist here too. */
function expectSettings({ optimizer }: ReturnType<typeof make>, row: Row): void {
  for (const [i, { params: _, ...group }] of optimizer.param_groups.entries()) {
    // what PyTorch has not, keeps its value
    const want = { use_muon: true, betas: [0.9, 0.999], ...row.settings[i] } as Record<
      string,
      unknown
    >
    const names = Object.keys(group)
    expect(group).toEqual(Object.fromEntries(names.map((name) => [name, want[name]])))
  }
}

describe('the state of PyTorch’s optimizer', () => {
  it.each(NAMES)('continues the run: %s', async (name) => {
    const [row, bytes] = [await rowOf(name), await recorded(`optimizer-${name}.pt`)]
    const ways = [make(row), make(row)] as const
    await ways[0].optimizer.load(new Blob([bytes]))
    ways[1].optimizer.loadSync(bytes)
    for (const made of ways) {
      await expectContinues(row, made)
      expectSettings(made, row)
    }
  })

  it.each(NAMES)('continues after it was saved here, in both formats: %s', async (name) => {
    const [row, bytes] = [await rowOf(name), await recorded(`optimizer-${name}.pt`)]
    const { optimizer } = make(row)
    await optimizer.load(bytes)
    const file = new FakeFile()
    await optimizer.save(file, { format: 'torch' })
    const saved = [
      await optimizer.saveBytes({ format: 'torch' }),
      optimizer.saveBytesSync({ format: 'torch' }),
      new Uint8Array(await (await optimizer.saveBlob({ format: 'torch' })).arrayBuffer()),
      new Uint8Array(await (await file.getFile()).arrayBuffer()),
    ]
    for (const bytes of saved) expect(bytes).toEqual(saved[0])
    expect(String.fromCharCode(...(saved[0] as Uint8Array).subarray(0, 2))).toBe('PK')
    for (const bytes of [saved[0] as Uint8Array, await optimizer.saveBytes()]) {
      const made = make(row)
      made.optimizer.loadSync(bytes)
      await expectContinues(row, made)
      expectSettings(made, row)
    }
  })

  it('continues a run of Muon with its roundings to bf16 as closely as these allow', async () => {
    const made = make(await rowOf('muon-bf16'))
    await made.optimizer.load(await recorded('optimizer-muon-bf16.pt'))
    // PyTorch names no default here
    expect(made.optimizer.param_groups[0]).toMatchObject({ adjust_lr_fn: 'original', lr: 0.1 })
    // the sizes of steps are about 0.1, of which bf16 keeps some percent
    await expectContinues(await rowOf('muon-bf16'), made, 0.02)
  })

  it('of Muon has no groups for AdamW', async () => {
    const [p, q] = [[2, 3], [3]].map((shape) => full(shape, 1, { requires_grad: true }))
    const groups = [{ params: [p as Tensor] }, { params: [q as Tensor], use_muon: false }]
    const optimizer = new Muon(groups)
    await expectError(optimizer.saveBytes({ format: 'torch' }), 'not_available', /safetensors/)
    expect(() => optimizer.saveBytesSync({ format: 'torch' })).toThrow(/use_muon/)
    const other = new SGD([p as Tensor], { momentum: 0.9 })
    await expectError(
      new Muon([p as Tensor]).load(await other.saveBytes({ format: 'torch' })),
      'invalid_checkpoint',
      /another optimizer than Muon/,
    )
  })

  it('accepts numbers for tensors, tensors for numbers, and any parameter numbers', async () => {
    const row = await rowOf('adam')
    const made = make(row)
    await made.optimizer.load(await recorded('optimizer-numbers.pt'))
    expectSettings(made, row)
    await expectContinues(row, made)
  })

  it('is accepted as an object in PyTorch’s form', async () => {
    const row = await rowOf('adam')
    const source = make(row)
    await source.optimizer.load(await recorded('optimizer-adam.pt'))
    const { state, param_groups } = source.optimizer.stateDict()
    const ids = [30, 10, 20, 0]
    const fields = (i: number) => ({
      step: 3,
      exp_avg: state.get(`${i}.exp_avg`) as Tensor,
      exp_avg_sq: state.get(`${i}.exp_avg_sq`) as Tensor,
      unused: null,
    })
    const torch = {
      amsgrad: false,
      maximize: false,
      foreach: null,
      fused: null,
      decoupled_weight_decay: false,
    }
    const group = { ...param_groups[0], ...torch, params: ids }
    const forms = [
      Object.fromEntries(ids.map((id, i) => [id, fields(i)])),
      new Map(ids.map((id, i) => [id, fields(i)])),
    ]
    for (const form of forms) {
      const made = make(row)
      const before = bytesInUse()
      made.optimizer.loadStateDict({ param_groups: [group], state: form })
      expect(bytesInUse() - before).toBeLessThan(4096)
      expectSettings(made, row)
      await expectContinues(row, made)
    }
  })

  it('may contain tensors as settings, and unknown settings, in PyTorch’s form', () => {
    const made = () => new Adam([full([2], 1, { requires_grad: true })])
    const step = { exp_avg: zeros([2]), exp_avg_sq: zeros([2]), step: 3 }
    const one = (value: number) => full([], value, { dtype: 'f64' })
    const group = { lr: full([1], 0.5), betas: [one(0.5), one(0.75)], eps: one(2), params: [0] }
    const want = { lr: 0.5, betas: [0.5, 0.75], eps: 2 }
    const others = { name: 'head', my_own: [1], swa_lr: null }
    for (const form of [{ 0: step }, new Map([[0, step]])]) {
      const optimizer = made()
      optimizer.loadStateDict({ param_groups: [{ ...group, ...others }], state: form })
      expect(optimizer.param_groups[0]).toMatchObject(want)
      expect(optimizer.param_groups[0]).not.toHaveProperty('name')
      expect(optimizer.stateDict().state.get('0.step')?.item()).toBe(3)
    }
    const [fresh, own] = [made(), made()]
    fresh.loadStateDict({
      param_groups: [{ ...group, ...others, amsgrad: full([], 0) }],
      state: {},
    })
    expect(fresh.param_groups[0]).toMatchObject(want)
    own.loadStateDict({ param_groups: [group], state: new Map() } as never)
    expect(own.param_groups[0]).toMatchObject(want)
    const slip = { param_groups: [{ ...group, ...others }], state: new Map() } as never
    expect(() => own.loadStateDict(slip)).toThrow(/name: is not an option/)
    const several = {
      param_groups: [{ ...group, lr: zeros([2]), betas: [zeros([2]), 0.9] }],
      state: {},
    }
    expect(() => own.loadStateDict(several)).toThrow(
      /lr: got a tensor[\s\S]*betas: got \[a tensor,0.9\]/,
    )
    const wrong = { param_groups: [{ ...group, amsgrad: full([], 1) }], state: { 0: step } }
    expect(() => own.loadStateDict(wrong)).toThrow(/amsgrad is true/)
  })

  it('that would compute something else is an error, and changes nothing', async () => {
    const adam = () => new Adam([full([2], 1, { requires_grad: true })])
    const sgd = () => new SGD([full([2], 1, { requires_grad: true })])
    const refused = [
      ['optimizer-amsgrad.pt', adam(), 'not_available', /param_groups\[0\]\.amsgrad is true/],
      ['optimizer-maximize.pt', sgd(), 'not_available', /param_groups\[0\]\.maximize is true/],
      ['optimizer-names.pt', sgd(), 'not_available', /by name/],
      [
        'optimizer-other.pt',
        adam(),
        'invalid_checkpoint',
        /another optimizer than Adam.*no amsgrad/,
      ],
      [
        'optimizer-other.pt',
        sgd(),
        'invalid_checkpoint',
        /another optimizer than SGD.*no momentum/,
      ],
      [
        'optimizer-momentum.pt',
        sgd(),
        'invalid_checkpoint',
        /other groups of parameters.*\[4\].*\[1\]/,
      ],
      ['optimizers.pt', adam(), 'invalid_checkpoint', /choose one by the option `key`: `a`, `c`/],
      ['model.pt', adam(), 'invalid_checkpoint', /holds no state of an optimizer/],
      ['model.safetensors', adam(), 'invalid_checkpoint', /no optimizer state/],
    ] as const
    for (const [name, optimizer, code, message] of refused) {
      const bytes = await recorded(name)
      await expectError(optimizer.load(bytes), code, message)
      expect(() => optimizer.loadSync(bytes), name).toThrow(message)
      expect(optimizer.lr, name).toBe(1e-3)
      expect(optimizer.stateDict().state.size, name).toBe(0)
    }
    const row = await rowOf('adamw')
    const decoupled = { ...row, class: 'Adam' } as const
    await expectError(
      make(decoupled).optimizer.load(await recorded('optimizer-adamw.pt')),
      'invalid_checkpoint',
      /the state of AdamW, not of Adam/,
    )
    const turned = {
      ...(await rowOf('adam')),
      shapes: row.shapes.map((shape) => [...shape].reverse()),
    }
    await expectError(
      make(turned).optimizer.load(await recorded('optimizer-adam.pt')),
      'invalid_checkpoint',
      /`0.exp_avg` has shape \[3, 4\], the parameter \[4, 3\]/,
    )
  })

  it('reports what is missing in an object', () => {
    const optimizer = new SGD([full([2], 1, { requires_grad: true })], { momentum: 0.9 })
    const groups = [{ lr: 1, params: [0] }]
    for (const [state, message] of [
      [null, /the state must be what stateDict\(\) gives/],
      [{ param_groups: [{}], state: {} }, /other groups/],
      [{ param_groups: groups }, /the state must be an object/],
      [{ param_groups: groups, state: { 0: 5 } }, /the state of parameter 0 must be an object/],
      [
        { param_groups: groups, state: { 1: { step: 1 } } },
        /`1.step` is the state of a parameter that no group has/,
      ],
      [
        { param_groups: groups, state: { 0: { momentum_buffer: 'x' } } },
        /`0.momentum_buffer` of the state must be a T/,
      ],
      [{ param_groups: groups, state: { 0: { step: 0.5 } } }, /`0.step` is no number of steps/],
      [{ param_groups: [{ ...groups[0], momentun: 1 }], state: {} }, /momentun/],
    ] as const) {
      expect(() => optimizer.loadStateDict(state as never)).toThrow(message)
    }
    expect(optimizer.lr).toBe(1e-3)
  })
})

describe('a run of a model', () => {
  const resume = async () => {
    const { options, layers, tokens, losses } = (await training()).nanogpt
    const net = new TransformerWrapper({ ...options, attn_layers: new Decoder(layers) })
    const model = new AutoregressiveWrapper(net)
    const x = tensor(tokens, { dtype: 'i64' })
    const parameters = net.parameters()
    const groups = [
      parameters.filter((p) => p.shape.length > 1),
      parameters.filter((p) => p.shape.length < 2),
    ]
    const optimizer = new AdamW(
      groups.map((params) => ({ params })),
      { lr: 1 },
    )
    const train = async () => {
      const loss = await model.forward(x)
      optimizer.zeroGrad()
      await loss.backward()
      await optimizer.step()
      return loss.item() as number
    }
    return { net, optimizer, losses, train }
  }

  it('continues from a checkpoint in the format of nanoGPT', async () => {
    const bytes = await recorded('nanogpt.pt')
    const { net, optimizer, losses, train } = await resume()
    expect(await net.loadWeights(bytes)).toEqual({
      missing: [],
      unexpected: [],
      mismatched: [],
      prefix: null,
    })
    await optimizer.load(bytes, { key: 'optimizer' })
    expect(optimizer.param_groups.map(({ lr, weight_decay }) => [lr, weight_decay])).toEqual([
      [0.01, 0.1],
      [0.01, 0],
    ])
    for (const want of losses) expect(Math.abs((await train()) - want)).toBeLessThan(1e-5)
  })

  it('continues after it was saved and loaded in the middle', async () => {
    const bytes = await recorded('nanogpt.pt')
    const first = await resume()
    await first.net.loadWeights(bytes)
    await first.optimizer.load(bytes)
    const [one, two, ...rest] = first.losses as [number, number, ...number[]]
    for (const want of [one, two]) expect(Math.abs((await first.train()) - want)).toBeLessThan(1e-5)
    const second = await resume()
    second.net.loadWeightsSync(await first.net.saveBytes())
    second.optimizer.loadSync(await first.optimizer.saveBytes({ format: 'torch' }))
    for (const want of rest) expect(Math.abs((await second.train()) - want)).toBeLessThan(1e-5)
  })
})

describe('the format of a state', () => {
  it('is chosen by the file name, or by the option', async () => {
    const model = smallModel()
    const optimizer = new AdamW(model.parameters())
    const start = async (file: FakeFile) =>
      String.fromCharCode(
        ...new Uint8Array(await (await file.getFile()).arrayBuffer()).subarray(0, 2),
      )
    const named = (name: string) => Object.assign(new FakeFile(), { name })
    for (const name of ['x.pt', 'x.PTH', 'x.ckpt', 'x.bin']) {
      const file = named(name)
      await optimizer.save(file)
      expect(await start(file), name).toBe('PK')
      await optimizer.save(file, { format: 'safetensors' })
      expect(await start(file), name).not.toBe('PK')
    }
    for (const name of ['x.safetensors', 'pt', 'x.pt.x']) {
      const file = named(name)
      await optimizer.save(file)
      expect(await start(file), name).not.toBe('PK')
    }
    await expectError(
      optimizer.saveBytes({ format: 'pickle' as never }),
      'invalid_argument',
      /safetensors or torch/,
    )
    expect(() => optimizer.saveBytesSync({ format: 3 as never })).toThrow(/safetensors or torch/)
  })

  it('of PyTorch contains no weights', async () => {
    const optimizer = new SGD(smallModel().parameters())
    const bytes = await optimizer.saveBytes({ format: 'torch' })
    await expectError(loadTensors(bytes), 'invalid_checkpoint', /holds no state dict/)
  })
})
