import { describe, expect, it } from 'vitest'
import {
  AdamW,
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
import { type DoneEvent, decayGroups, Trainer } from 'x-transformers/train'
import { ids, numbers, smallModel } from './helpers.js'
import { parameter } from './optimizer-steps.js'
import { epoch, eventsOf, lossesOf, weights, wholeAndResumed } from './runs.js'
import { continuous, encoder, vit, xTransformer } from './zoo.js'

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

describe('an optimizer', () => {
  it('of the kind Muon steps matrices, and all else with AdamW', async () => {
    const [model, twin] = [smallModel(), smallModel()]
    twin.loadStateDict(model.stateDict())
    const [matrices, others] = model.muonParameters()
    const optimizer = new Muon([
      { ...matrices, lr: 0.02, weight_decay: 0 },
      { ...others, lr: 0.01, eps: 1e-8, weight_decay: 0.01 },
    ])
    const adamw = new AdamW(twin.parameters(), { lr: 0.01 })
    for (const of of [model, twin]) await (await of.forward(ids(2, 9))).backward()
    await optimizer.step()
    await adamw.step()
    const [got, want] = [model.namedParameters(), twin.namedParameters()]
    for (const [name, parameter] of got) {
      const same = String(numbers(parameter)) === String(numbers(want.get(name) as Tensor))
      expect(same, name).toBe(!matrices.params.includes(parameter))
    }
    // singular values of an update are about 1, so its norm is about the root of the rank
    expect(optimizer.toString()).toContain('"use_muon":false')
  })

  it('of the kind Muon refuses what is no matrix, and says what to do', async () => {
    const model = smallModel()
    expect(() => new Muon(model.parameters())).toThrow(/model\.muonParameters\(\)/)
    expect(() => new Muon([parameter()])).toThrow(/shape \[3\]/)
    const optimizer = new Muon([{ params: [parameter()], use_muon: false }])
    Object.assign(optimizer.param_groups[0] as object, { use_muon: true })
    await expect(optimizer.step()).rejects.toThrow(/model\.muonParameters\(\)/)
    const wrong = { ns_coefficients: [1], ns_steps: 100, adjust_lr_fn: 'none', momentum: 1 }
    expect(() => new Muon(model.muonParameters(), wrong as never)).toThrow(/adjust_lr_fn/)
  })
})

describe('a run with Muon', () => {
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

  it('goes on as if it had not been stopped, and keeps the ratios of rates', async () => {
    const layers = { attn_dropout: 0.2 }
    const { whole, stopped, resumed, twin, second, given } = await wholeAndResumed(
      settings,
      layers,
      5,
    )
    const rates = given.optimizer.param_groups.map(({ lr }) => lr)
    expect(rates[1]).toBeCloseTo((rates[0] as number) / 4, 12)
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
