import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  cat,
  Decoder,
  full,
  Module,
  manualSeed,
  noGrad,
  randn,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { activationNorms, gradNorms, type StepEvent, Trainer } from 'x-transformers/train'
import { expectError, watchRejections } from './bytes.js'
import { expectClose, ids, smallModel, smallNet } from './helpers.js'
import { decoder, xTransformer } from './zoo.js'

const X = ids(2, 9)
const rms = (x: Tensor) => Math.sqrt(x.mul(x).mean().item() as number)

describe('activationNorms', () => {
  it('are the root mean squares of what the layers give', async () => {
    const layers = { dim: 16, depth: 3, heads: 2, attn_dim_head: 8 }
    const model = new TransformerWrapper({
      ...{ num_tokens: 11, max_seq_len: 16, attn_layers: new Decoder(layers) },
    }).eval()
    const { attn_layers } = model
    const norms = await activationNorms(model, () => model.forward(X))
    expect(Object.keys(norms)).toEqual([0, 1, 2, 3, 4, 5].map((i) => `attn_layers.layers.${i}`))
    expect(Object.keys(norms)).toEqual(
      Object.keys(await withGradients(model)).filter((name) => name.includes('layers.')),
    )
    const embedded = randn([2, 9, 16])
    const inner = await activationNorms(attn_layers, () => attn_layers.forward(embedded))
    expect(Object.keys(inner)).toEqual([0, 1, 2, 3, 4, 5].map((i) => `layers.${i}`))
    const [, { hiddens: inputs }] = await attn_layers.forward(embedded, { return_hiddens: true })
    // of the attentions: what the layers before them have given
    const hiddens = inputs.slice(1).map(rms)
    expectClose([inner['layers.1'] as number, inner['layers.3'] as number], hiddens, 1e-5)
  })

  it('are taken over all calls, and leave nothing for the next time', async () => {
    const model = smallNet().eval()
    const run = (x: Tensor) => noGrad(() => model.forward(x))
    const [a, b] = [ids(1, 5), ids(1, 5).sub(10).mul(-1)]
    const one = await activationNorms(model, () => run(a))
    const other = await activationNorms(model, () => run(b))
    const both = await activationNorms(model, async () => {
      await run(a)
      model.forwardSync(b)
    })
    for (const [layer, norm] of Object.entries(both))
      expect(norm).toBeCloseTo(
        Math.hypot(one[layer] as number, other[layer] as number) / Math.SQRT2,
      )
    await run(a)
    expect(await activationNorms(model, () => {})).toEqual({})
    const failing = activationNorms(model, async () => {
      await run(a)
      throw new Error('of the caller')
    })
    await expect(failing).rejects.toThrow('of the caller')
    await run(a)
    expect(await activationNorms(model, () => {})).toEqual({})
  })

  it('count each element alike, of calls of the model and of the models within', async () => {
    const model = smallModel().eval()
    const { net } = model
    const [few, many] = [ids(1, 4), X.narrow(1, 0, 8)]
    const run = (x: Tensor) => noGrad(() => net.forward(x))
    const ofMany = await activationNorms(model, () => noGrad(() => model.forward(ids(2, 9))))
    const ofFew = await activationNorms(net, () => run(few))
    const both = await activationNorms(model, async () => {
      await noGrad(() => model.forward(ids(2, 9)))
      await run(few)
    })
    const twice = await activationNorms(net, async () => {
      await run(many)
      net.forwardSync(few)
    })
    expect(Object.keys(ofMany)).toHaveLength(2)
    for (const [layer, norm] of Object.entries(ofMany)) {
      const inner = layer.replace('net.', '')
      // 16 rows of vectors and 4
      const want = Math.sqrt((norm ** 2 * 16 + (ofFew[inner] as number) ** 2 * 4) / 20)
      expectClose([both[layer] as number, twice[inner] as number], [want, want], 1e-5)
    }
  })

  it('are those of generations too', async () => {
    const model = smallModel().eval()
    const prompt = ids(1, 3)
    const options = { temperature: 0, cache_kv: true } as const
    const runs: Record<string, () => unknown> = {
      generate: () => model.generate(prompt, 5, options),
      generateSync: () => model.generateSync(prompt, 5, options),
      'a filter': () => model.generate(prompt, 5, { ...options, filter_logits_fn: (x) => x }),
      stream: async () => {
        for await (const _ of model.stream(prompt, 5, options));
      },
    }
    const tokens = cat([
      prompt.reshape([3]),
      (await model.generate(prompt, 5, options)).reshape([5]),
    ])
    const all = tokens.narrow(0, 0, 7).reshape([1, 7])
    const want = await activationNorms(model.net, () => noGrad(() => model.net.forward(all)))
    for (const [name, run] of Object.entries(runs)) {
      const norms = await activationNorms(model, run)
      expect(Object.keys(norms), name).toEqual(Object.keys(want).map((layer) => `net.${layer}`))
      expectClose(Object.values(norms), Object.values(want), 1e-5)
    }
  })

  it('leave out models within that were disposed, and say what is no number', async () => {
    const rejections = watchRejections()
    const net = smallNet()
    const model = new AutoregressiveWrapper(net).eval()
    const names = Object.keys(await activationNorms(model, () => model.forward(X)))
    net.dispose()
    expect(Object.keys(await activationNorms(model, () => model.forward(X)))).toEqual(names)
    const weight = 'net.token_emb.emb.weight'
    const { shape } = model.stateDict().get(weight) as Tensor
    model.loadStateDict({ [weight]: full(shape, Number.NaN) }, { strict: false })
    const norms = await activationNorms(model, () => model.forward(X))
    expect(Object.values(norms)).toEqual([Number.NaN, Number.NaN])
    await new Promise((resolve) => setTimeout(resolve, 10))
    rejections.stop()
    expect(rejections.seen).toEqual([])
  })

  it('name the layers of models in models, and of those of the user', async () => {
    class Pair extends Module {
      first = xTransformer()
      second = smallModel()
      async forward(x: Tensor) {
        const loss = await this.first.forward(ids(1, 4), ids(1, 5))
        return loss.add((await this.second.forward(x)) as Tensor)
      }
    }
    const model = new Pair()
    const names = Object.keys(await activationNorms(model, () => model.forward(X)))
    expect(names.length).toBeGreaterThan(5)
    const layers = Object.keys(await gradNormsOf(model)).filter((name) => /layers\.\d+$/.test(name))
    expect(names.sort()).toEqual(layers.sort())
    const single = model.second
    const inner = await activationNorms(single.net, () => single.forward(X))
    // the call was one of the model around it
    expect(inner).toEqual({})
  })

  it('change no result, with dropout, gradient checkpointing and skipped layers too', async () => {
    for (const options of [
      { attn_dropout: 0.2, ff_dropout: 0.1 },
      { gradient_checkpointing: true, attn_dropout: 0.2 },
      { layer_dropout: 1, depth: 2 },
    ]) {
      const model = smallModel(options)
      const state = model.stateDict()
      const other = smallModel(options)
      other.loadStateDict(state)
      const seen = await stepsOf(model, { activations: true })
      const plain = await stepsOf(other, { activations: false })
      expect(seen.map(({ loss }) => loss)).toEqual(plain.map(({ loss }) => loss))
      const skipped = 'layer_dropout' in options
      for (const { activation_norms } of seen)
        expect(Object.keys(activation_norms ?? {})).toHaveLength(skipped ? 0 : 2)
      expect(plain.every(({ activation_norms }) => activation_norms === null)).toBe(true)
    }
  })

  it('are in the events of a run, once in so many steps', async () => {
    const events = await stepsOf(smallModel(), { activations: true, gradients: false, every: 2 })
    expect(events.map(({ activation_norms }) => activation_norms !== null)).toEqual([
      ...[false, true, false, true],
    ])
    expect(events.every(({ grad_norms }) => grad_norms === null)).toBe(true)
    for (const norm of Object.values(events[1]?.activation_norms ?? {}))
      expect(norm).toBeGreaterThan(0)
  })

  it('says what is wrong', async () => {
    const no = 'invalid_argument'
    await expectError(
      activationNorms({} as never, () => {}),
      no,
      /must be a Module/,
    )
    await expectError(activationNorms(decoder(), 3 as never), no, /must be a function/)
    const model = smallNet()
    await expectError(
      activationNorms(model, () => model.dispose()),
      'disposed',
      /disposed/,
    )
  })
})

async function gradNormsOf(model: Module): Promise<Record<string, number>> {
  await ((await model.forward(X)) as Tensor).backward()
  return await gradNorms(model)
}

async function withGradients(net: TransformerWrapper): Promise<Record<string, number>> {
  await new AutoregressiveWrapper(net).forward(X).then((loss) => loss.backward())
  return await gradNorms(net)
}

async function stepsOf(model: Module, norms: object): Promise<StepEvent[]> {
  const events: StepEvent[] = []
  manualSeed(7)
  const trainer = new Trainer(model, {
    data: Array.from({ length: 4 }, () => [X]),
    optimizer: new AdamW(model.parameters(), { lr: 0 }),
    steps: 4,
    norms,
  })
  for await (const event of trainer) if (event.type === 'step') events.push(event)
  return events
}
