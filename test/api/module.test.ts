import { expect, it, describe as suite } from 'vitest'
import {
  AdamW,
  Decoder,
  describe,
  Encoder,
  getDefaultDevice,
  load,
  loadTensors,
  Module,
  ones,
  randn,
  SGD,
  type Tensor,
  TransformerWrapper,
  tensor,
  zeros,
} from 'x-transformers'
import { bytesInUse, ids, numbers, smallModel, smallNet } from './helpers.js'

suite('a model', () => {
  it('names its parameters as the Python package does', () => {
    const names = [...smallModel().stateDict().keys()]
    expect(names).toContain('net.token_emb.emb.weight')
    expect(names).toContain('net.pos_emb.emb.weight')
    expect(names).toContain('net.attn_layers.layers.0.1.to_q.weight')
    expect(names).toContain('net.to_logits.bias')
  })

  it('gives the same parameters on every call', () => {
    const model = smallModel()
    expect(model.parameters()).toEqual([...model.namedParameters().values()])
    for (const [i, parameter] of model.parameters().entries())
      expect(model.parameters()[i]).toBe(parameter)
    expect(model.parameters().every((parameter) => parameter.requires_grad)).toBe(true)
  })

  it('shares the weights of the model it wraps', async () => {
    const decoder = new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 })
    const net = new TransformerWrapper({ num_tokens: 11, max_seq_len: 16, attn_layers: decoder })
    const [inner, outer] = [decoder.namedParameters(), net.namedParameters()]
    for (const [name, parameter] of inner) expect(outer.get(`attn_layers.${name}`)).toBe(parameter)

    const before = numbers([...inner.values()][0] as Tensor)
    const logits = await net.forward(ids(1, 4))
    await logits.sum().backward()
    const step = new SGD(net.parameters(), { lr: 1 }).step()
    // a write through one model makes the other one wait
    const y = decoder.forward(randn([1, 4, 16]))
    await Promise.all([step, y])
    expect(numbers([...inner.values()][0] as Tensor)).not.toEqual(before)
  })

  it('has buffers in its state dict, and not among its parameters', () => {
    const net = smallNet({ attn_dim_head: 64, rotary_pos_emb: true })
    const name = 'attn_layers.rotary_pos_emb.inv_freq'
    expect(net.stateDict().has(name)).toBe(true)
    expect(net.namedParameters().has(name)).toBe(false)
  })

  it('counts its weights and describes itself without drawing values', () => {
    const before = bytesInUse()
    const giant = new Decoder({ dim: 12288, depth: 96, heads: 96, attn_dim_head: 128 })
    const { num_parameters, bytes, children, parameters } = describe(giant)
    expect(num_parameters).toBe(giant.numParameters)
    expect(num_parameters).toBeGreaterThan(170e9)
    expect(bytes).toBeGreaterThanOrEqual(num_parameters * 4)
    expect(parameters.reduce((sum, { size }) => sum + size, 0)).toBe(num_parameters)
    expect(children[0]?.name).toBe('layers')
    expect(bytesInUse()).toBeLessThan(before + 2 ** 20)
  })

  it('gives its options and prints a tree', () => {
    const model = smallModel()
    expect(describe(model)).toMatchObject({
      class: 'AutoregressiveWrapper',
      options: {
        net: {
          class: 'TransformerWrapper',
          options: { num_tokens: 11, attn_layers: { class: 'Decoder' } },
        },
      },
    })
    const tree = String(model)
    expect(tree).toMatch(/^AutoregressiveWrapper\(\n {2}\(net\): TransformerWrapper\(/)
    expect(tree).toContain('(attn_layers): Decoder(')
    expect(tree).toContain('(token_emb.emb): weight [11, 16]')
  })

  it('is in training mode, until eval', () => {
    const model = smallModel()
    expect(model.training).toBe(true)
    expect(model.eval()).toBe(model)
    expect(model.training).toBe(false)
    expect(model.train().training).toBe(true)
  })

  it('moves to a device in place', () => {
    const model = smallModel()
    expect(model.to('cpu')).toBe(model)
    expect(model.cpu().parameters()[0]?.device).toBe('cpu')
  })
})

suite('loadStateDict', () => {
  it('copies values from another model', async () => {
    const [a, b] = [smallModel(), smallModel()]
    const x = ids(2, 9)
    expect(b.loadStateDict(a.stateDict())).toEqual({
      missing: [],
      unexpected: [],
      mismatched: [],
      prefix: null,
    })
    expect((await b.forward(x)).item()).toBe((await a.forward(x)).item())
  })

  it('reports every mismatch, and changes nothing', () => {
    const model = smallModel()
    const before = model.parameters().map(numbers)
    const state = model.stateDict()
    state.delete('net.to_logits.bias')
    state.set('net.extra', ones([1]))
    state.set('net.norm.weight', ones([3]))
    expect(() => model.loadStateDict(state)).toThrowError(
      expect.objectContaining({
        code: 'invalid_checkpoint',
        message: expect.stringMatching(
          /norm.weight has shape \[3\].*\[16\][\s\S]*to_logits.bias is missing[\s\S]*net.extra/,
        ),
      }),
    )
    expect(model.parameters().map(numbers)).toEqual(before)
  })

  it('ignores names that do not match when it is not strict', () => {
    const model = smallModel()
    const state = new Map([
      ['net.norm.weight', zeros([16])],
      ['extra', ones([1])],
    ])
    const { missing, unexpected } = model.loadStateDict(state, { strict: false })
    expect(missing).toContain('net.to_logits.bias')
    expect(unexpected).toEqual(['extra'])
    expect(model.stateDict().get('net.norm.weight')?.sum().item()).toBe(0)
  })

  it('makes backward through the old values an error', async () => {
    const model = smallModel()
    const loss = await model.forward(ids(2, 9))
    model.loadStateDict(smallModel().stateDict())
    await expect(loss.backward()).rejects.toThrow(/changed/)
  })
})

suite('a frozen part of a model', () => {
  it('gets no gradient and does not change until it is unfrozen', async () => {
    const model = smallModel()
    const optimizer = new AdamW(model.parameters(), { lr: 0.1, weight_decay: 0.1 })
    const train = async () => {
      const loss = await model.forward(ids(2, 9))
      await loss.backward()
      await optimizer.step()
    }
    const named = [...model.namedParameters()]
    const parts = {
      head: named.filter(([name]) => name.includes('to_logits')),
      rest: [] as typeof named,
    }
    parts.rest = named.filter((entry) => !parts.head.includes(entry))
    for (const [, parameter] of parts.rest) parameter.requires_grad = false
    const before = parts.rest.map(([, parameter]) => numbers(parameter))
    const head = parts.head.map(([, parameter]) => numbers(parameter))
    await train()
    expect(parts.rest.every(([, parameter]) => parameter.grad === null)).toBe(true)
    expect(parts.rest.map(([, parameter]) => numbers(parameter))).toEqual(before)
    expect(parts.head.map(([, parameter]) => numbers(parameter))).not.toEqual(head)
    expect([...model.namedParameters().keys()]).toEqual(named.map(([name]) => name))

    for (const [, parameter] of parts.rest) parameter.requires_grad = true
    await train()
    const after = parts.rest.map(([, parameter]) => numbers(parameter))
    for (const [i, values] of after.entries())
      expect(values, parts.rest[i]?.[0]).not.toEqual(before[i])
  })

  it('does not affect a graph that was recorded before', async () => {
    const model = smallModel()
    const loss = await model.forward(ids(2, 9))
    const [first] = model.parameters() as [Tensor]
    first.requires_grad = false
    await loss.backward()
    expect(first.grad).not.toBeNull()
  })

  it('may be the whole model: then backward has no graph', async () => {
    const model = smallModel()
    for (const parameter of model.parameters()) parameter.requires_grad = false
    const loss = await model.forward(ids(2, 9))
    expect(loss.requires_grad).toBe(false)
    await expect(loss.backward()).rejects.toMatchObject({ code: 'no_graph' })
  })

  it('is not a buffer, nor changed while a call is pending', async () => {
    const model = smallModel({ attn_dim_head: 64, rotary_pos_emb: true })
    const buffer = model.stateDict().get('net.attn_layers.rotary_pos_emb.inv_freq') as Tensor
    expect(() => {
      buffer.requires_grad = true
    }).toThrow(/buffer/)
    const pending = model.forward(ids(2, 9))
    expect(() => {
      ;(model.parameters()[0] as Tensor).requires_grad = false
    }).toThrowError(expect.objectContaining({ code: 'busy' }))
    await pending
  })
})

suite('a custom module', () => {
  class Head extends Module {
    weight = randn([16, 2], { requires_grad: true })
    scale = ones([2])

    forward(x: Tensor): Tensor {
      return x.matmul(this.weight).mul(this.scale)
    }
  }

  class Classifier extends Module<{ classes: number }> {
    encoder = new TransformerWrapper({
      num_tokens: 11,
      max_seq_len: 16,
      attn_layers: new Encoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }),
    })
    heads = [new Head(), new Head()]
    parent: Module = this

    async forward(x: Tensor): Promise<Tensor> {
      const embedded = await this.encoder.forward(x, { return_embeddings: true })
      const pooled = embedded.mean(1)
      return this.heads.map((head) => head.forward(pooled)).reduce((a, b) => a.add(b))
    }
  }

  it('has its children’s parameters, by dotted names', () => {
    const model = new Classifier({ classes: 2 })
    const names = [...model.namedParameters().keys()]
    expect(names).toContain('encoder.attn_layers.layers.0.1.to_q.weight')
    expect(names.filter((name) => name.startsWith('heads'))).toEqual([
      'heads.0.weight',
      'heads.1.weight',
    ])
    expect(model.options).toEqual({ classes: 2 })
    expect(String(model)).toContain('(encoder): ')
    expect(model.numParameters).toBe(model.encoder.numParameters + 64)
  })

  it('trains', async () => {
    const model = new Classifier()
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const labels = tensor([0, 1], { dtype: 'i64' })
    const losses: number[] = []
    for (let step = 0; step < 30; step++) {
      const logits = await model.forward(ids(2, 8))
      const loss = logits.crossEntropy(labels)
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
      losses.push(loss.item() as number)
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 2)
  })

  it('passes its mode on to its children', () => {
    const model = new Classifier().eval()
    expect(model.encoder.training).toBe(false)
    expect(model.heads[1]?.training).toBe(false)
  })

  it('accepts a state dict, also when an optimizer exists already', async () => {
    const [a, b] = [new Classifier(), new Classifier()]
    const optimizer = new SGD(b.parameters(), { lr: 0.1 })
    b.loadStateDict(a.stateDict())
    const loss = (await b.forward(ids(2, 8))).crossEntropy(tensor([0, 1], { dtype: 'i64' }))
    const before = numbers(b.heads[0]?.weight as Tensor)
    expect(before).toEqual(numbers(a.heads[0]?.weight as Tensor))
    await loss.backward()
    await optimizer.step()
    expect(numbers(b.heads[0]?.weight as Tensor)).not.toEqual(before)
  })

  it('makes backward through its own old values an error', async () => {
    const [a, b] = [new Head(), new Head()]
    const loss = a.forward(ones([2, 16])).sum()
    a.loadStateDict(b.stateDict())
    await expect(loss.backward()).rejects.toMatchObject({ code: 'stale_parameters' })
  })

  it('keeps its parameters, their gradients and its optimizer when it is moved', async () => {
    const model = new Head()
    const optimizer = new AdamW(model.parameters(), { lr: 0.1 })
    const step = async () => {
      model
        .forward(ones([2, 16]))
        .sum()
        .backwardSync()
      await optimizer.step()
    }
    await step()
    const [before, gradient] = [numbers(model.weight), numbers(model.weight.grad as Tensor)]
    model.to('cpu')
    expect(numbers(model.weight)).toEqual(before)
    expect(numbers(model.weight.grad as Tensor)).toEqual(gradient)
    model.to(getDefaultDevice())
    await step()
    expect(numbers(model.weight)).not.toEqual(before)
    expect(optimizer.stateDict().state.get('0.step')?.item()).toBe(2)
  })

  it('keeps its frozen parameter frozen', () => {
    const model = new Head()
    model.weight.requires_grad = false
    expect([...model.stateDict().keys()]).toEqual(['weight'])
    expect(model.forward(ones([2, 16])).requires_grad).toBe(false)
  })

  it('saves its weights, for a model of the same class', async () => {
    const [a, b] = [new Classifier(), new Classifier()]
    const bytes = await a.saveBytes()
    await expect(load(bytes)).rejects.toMatchObject({ name: 'XTransformersError' })
    b.loadStateDict((await loadTensors(bytes)).tensors)
    expect(numbers(await b.forward(ids(2, 8)))).toEqual(numbers(await a.forward(ids(2, 8))))
  })
})
