import { describe, expect, it } from 'vitest'
import {
  cosineWarmup,
  Embedding,
  Linear,
  load,
  Module,
  Muon,
  manualSeed,
  randn,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { type DoneEvent, decayGroups, type TrainEvent, Trainer } from 'x-transformers/train'
import { newFolder } from './folder.js'
import { ids, numbers, smallModel } from './helpers.js'
import { continuous, encoder, vit, xTransformer } from './zoo.js'

const weights = (model: Module) => [...model.stateDict().values()].flatMap(numbers)

/** The names of the parameters of one group. */
function namesOf(model: Module, group: 0 | 1): string[] {
  const { params } = model.muonParameters()[group]
  return [...model.namedParameters()].flatMap(([name, p]) => (params.includes(p) ? name : []))
}

/** The last part but `weight` of each name, once. */
const parts = (names: string[]) => [
  ...new Set(
    names.map((name) =>
      name
        .replace(/\.weight$/, '')
        .split('.')
        .at(-1),
    ),
  ),
]

describe('muonParameters', () => {
  it('are the matrices between the layers, and all others, each once', () => {
    for (const make of [smallModel, continuous, () => vit(3), xTransformer]) {
      const model = make()
      const [matrices, others] = model.muonParameters()
      expect(matrices.use_muon && !others.use_muon).toBe(true)
      expect(new Set([...matrices.params, ...others.params])).toEqual(new Set(model.parameters()))
      expect(matrices.params.length + others.params.length).toBe(model.parameters().length)
      expect(matrices.params.every(({ shape }) => shape.length === 2)).toBe(true)
      // attention and feed-forward
      expect(parts(namesOf(model, 0)).sort()).toEqual(['0', '3', 'to_k', 'to_out', 'to_q', 'to_v'])
    }
  })

  it('leave embeddings, positions, memory tokens and heads to AdamW', () => {
    const layers = { rel_pos_bias: true, attn_num_mem_kv: 2, attn_head_scale: true }
    const model = smallModel(layers)
    const names = [...namesOf(model, 1), ...namesOf(continuous(), 1), ...namesOf(vit(3), 1)]
    for (const name of ['token_emb.emb', 'pos_emb.emb', 'to_logits', 'relative_attention_bias'])
      expect(names.filter((own) => own.includes(name)).length, name).toBeGreaterThan(0)
    for (const name of ['project_in', 'project_out', 'patch_to_embedding.1', 'mlp_head', 'mem_k'])
      expect(names.filter((own) => own.includes(name)).length, name).toBeGreaterThan(0)
    const memory = new TransformerWrapper({
      ...{ num_tokens: 11, max_seq_len: 8, num_memory_tokens: 3, attn_layers: encoder() },
    })
    expect(namesOf(memory, 1)).toContain('memory_tokens')
  })

  it('of a model of one’s own are told by names', () => {
    class Own extends Module {
      body = encoder()
      mixing = randn([4, 4], { requires_grad: true })
      wte = randn([11, 4], { requires_grad: true })
      lm_head = randn([4, 11], { requires_grad: true })
      position = randn([8, 4], { requires_grad: true })
      row = randn([1, 4], { requires_grad: true })
      heads = [randn([4, 2], { requires_grad: true })]
      words = new Embedding({ num_embeddings: 11, embedding_dim: 4 })
      up = new Linear({ in_features: 4, out_features: 6 })
      async forward() {}
    }
    const model = new Own()
    const own = (group: 0 | 1) => namesOf(model, group).filter((name) => !name.startsWith('body'))
    expect(own(0).sort()).toEqual(['mixing', 'up.weight'])
    const others = ['heads.0', 'lm_head', 'position', 'row', 'up.bias', 'words.weight', 'wte']
    expect(own(1).sort()).toEqual(others)
    expect(namesOf(model, 0).some((name) => name.startsWith('body.'))).toBe(true)
  })

  it('are split by weight decay, with their settings', () => {
    const model = smallModel()
    const groups = decayGroups(model.muonParameters(), 0.1)
    expect(groups.map(({ use_muon, weight_decay }) => [use_muon, weight_decay])).toEqual([
      [true, 0.1],
      [false, 0.1],
      [false, 0],
    ])
    expect(groups[2]?.params.every(({ shape }) => shape.length === 1)).toBe(true)
    expect(groups.flatMap(({ params }) => params).length).toBe(model.parameters().length)
    expect(() => decayGroups([{ params: [1] }] as never, 0.1)).toThrow(/groups\[0\].params\[0\]/)
    expect(() => decayGroups({} as never, 0.1)).toThrow(/a Module, or groups/)
  })
})

describe('a run with Muon', () => {
  const epoch = (): [Tensor][] => [6, 9, 7, 5].map((length) => [ids(2, length)])
  const optimizerOf = (model: Module) => {
    const [matrices, others] = model.muonParameters()
    return new Muon(
      decayGroups(
        [
          { ...matrices, lr: 0.02 },
          { ...others, lr: 0.005 },
        ],
        0.1,
      ),
    )
  }
  const settings = (model: Module, folder: string, more: object = {}) => ({
    ...{ data: epoch(), optimizer: optimizerOf(model), steps: 9, clip: 1 },
    schedule: cosineWarmup({ lr: 0.02, warmup_steps: 3, total_steps: 9 }),
    checkpoint: { folder, every: 4 },
    ...more,
  })
  const eventsOf = async (trainer: Trainer) => {
    const events: TrainEvent[] = []
    for await (const event of trainer) events.push(event)
    return events
  }
  const lossesOf = (events: TrainEvent[]) =>
    events.flatMap((event) => (event.type === 'step' ? event.loss : []))

  it('goes on as if it had not been stopped, and keeps the ratios of rates', async () => {
    const layers = { attn_dropout: 0.2 }
    const [model, twin] = [smallModel(layers), smallModel(layers)]
    twin.loadStateDict(model.stateDict())
    manualSeed(1)
    const whole = await eventsOf(new Trainer(twin, settings(twin, await newFolder())))

    manualSeed(1)
    const folder = await newFolder()
    const controller = new AbortController()
    const given = settings(model, folder, { signal: controller.signal })
    const stopped: TrainEvent[] = []
    for await (const event of new Trainer(model, given)) {
      stopped.push(event)
      if (event.type === 'step' && event.step === 5) controller.abort()
    }
    const rates = given.optimizer.param_groups.map(({ lr }) => lr)
    expect(rates[1]).toBeCloseTo((rates[0] as number) / 4, 12)

    manualSeed(77)
    const second = smallModel(layers)
    const resumed = await eventsOf(new Trainer(second, settings(second, folder, { resume: true })))
    expect([...lossesOf(stopped), ...lossesOf(resumed)]).toEqual(lossesOf(whole))
    expect(weights(second)).toEqual(weights(twin))
    const { checkpoint } = resumed.at(-1) as DoneEvent
    expect(weights(await load(`${checkpoint}/model.safetensors`))).toEqual(weights(twin))
  })

  it('learns', async () => {
    manualSeed(3)
    const model = smallModel()
    const optimizer = new Muon(model.muonParameters(), { lr: 0.02 })
    const events = await eventsOf(
      new Trainer(model, { data: [[ids(4, 12)]], optimizer, steps: 40 }),
    )
    const losses = lossesOf(events)
    expect(losses.at(-1)).toBeLessThan(0.2 * (losses[0] as number))
  })
})
