import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  Module,
  manualSeed,
  noGrad,
  randn,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { activationNorms, gradNorms, type StepEvent, Trainer } from 'x-transformers/train'
import { expectError } from './bytes.js'
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
