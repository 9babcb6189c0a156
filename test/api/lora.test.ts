import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  Linear,
  LoRA,
  load,
  loadTensors,
  Module,
  manualSeed,
  randn,
  type Tensor,
  TransformerWrapper,
} from 'x-transformers'
import { Trainer, trainStep } from 'x-transformers/train'
import { expectError, FakeFile } from './bytes.js'
import { newFolder } from './folder.js'
import { expectClose, expectThrows, ids, numbers, smallModel, VOCABULARY } from './helpers.js'
import { logits, randomB, set, values, X } from './updates.js'
import { vit } from './zoo.js'

/** A model with other options than the small one, whose layers take other paths. */
const models: Record<string, () => AutoregressiveWrapper> = {
  plain: () => smallModel(),
  'a gated feed-forward': () => smallModel({ ff_glu: true, ff_swish: true }),
  'norms between projections': () => smallModel({ ff_post_act_ln: true, attn_one_kv_head: true }),
  'shared keys and values': () => smallModel({ attn_shared_kv: true, attn_gate_values: true }),
  'a bias of distances': () => smallModel({ dynamic_pos_bias: true, attn_on_attn: true }),
  'gradient checkpointing': () => smallModel({ gradient_checkpointing: true, depth: 2 }),
  'narrow embeddings': () =>
    new AutoregressiveWrapper(
      new TransformerWrapper({
        ...{ num_tokens: VOCABULARY, max_seq_len: 16, emb_dim: 12 },
        attn_layers: new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }),
      }),
    ),
}

describe('a LoRA', () => {
  it('adds two matrices to each linear layer, and changes no result at first', async () => {
    const model = smallModel().eval()
    const [before, names] = [await logits(model), [...model.stateDict().keys()]]
    const lora = new LoRA(model, { target_modules: ['*.to_q', /to_v$/], r: 3, lora_alpha: 6 })
    const layers = 'net.attn_layers.layers.0.1'
    expect(lora.modules).toEqual([`${layers}.to_q`, `${layers}.to_v`])
    expect([lora.r, lora.scale]).toEqual([3, 2])
    expect([...lora.namedParameters()].map(([name, { shape }]) => [name, shape])).toEqual([
      [`${layers}.to_q.lora_A.weight`, [3, 16]],
      [`${layers}.to_q.lora_B.weight`, [16, 3]],
      [`${layers}.to_v.lora_A.weight`, [3, 16]],
      [`${layers}.to_v.lora_B.weight`, [16, 3]],
    ])
    expect(await logits(model)).toEqual(before)
    const all = [...model.stateDict().keys()]
    expect(all.filter((name) => !names.includes(name))).toEqual([...lora.namedParameters().keys()])
    expect(model.numParameters).toBe(smallModel().numParameters + 2 * (3 * 16 + 16 * 3))
    expect(model.net.stateDict().size).toBe(all.length)
    const trained = model.parameters().filter((parameter) => parameter.requires_grad)
    expect(trained).toEqual(lora.parameters())
    expect(String(lora)).toBe('LoRA(r 3, scale 2, 2 layers)')
    const [a, b] = lora.parameters() as [Tensor, Tensor]
    expect(numbers(b).every((value) => value === 0)).toBe(true)
    const bound = 1 / Math.sqrt(16)
    expect(numbers(a).every((value) => Math.abs(value) <= bound)).toBe(true)
    expect(new Set(numbers(a)).size).toBeGreaterThan(40)
  })

  it.each(Object.keys(models))('has the gradients of the product: %s', async (name) => {
    const make = models[name] as () => AutoregressiveWrapper
    const model = make()
    manualSeed(3)
    const lora = new LoRA(model, { r: 4, lora_alpha: 6 })
    randomB(model, lora)
    const whole = make()
    whole.loadStateDict(model.stateDict(), { strict: false })
    const state = model.stateDict()
    const pairs = lora.modules.map((layer) => ({
      layer,
      weight: state.get(`${layer}.weight`) as Tensor,
      a: state.get(`${layer}.lora_A.weight`) as Tensor,
      b: state.get(`${layer}.lora_B.weight`) as Tensor,
    }))
    const weights = whole.namedParameters()
    for (const { layer, weight, a, b } of pairs)
      set(whole, { [`${layer}.weight`]: weight.add(b.matmul(a).mul(1.5)).detach() })
    expectClose(await logits(model), await logits(whole), 1e-5)
    const [loss, want] = [await model.forward(X), await whole.forward(X)]
    expectClose([loss.item() as number], [want.item() as number], 1e-5)
    await loss.backward()
    await want.backward()
    for (const { layer, weight, a, b } of pairs) {
      expect(weight.grad).toBe(null)
      const grad = weights.get(`${layer}.weight`)?.grad?.mul(1.5) as Tensor
      const [toA, toB] = [
        b.detach().transpose(0, 1).matmul(grad),
        grad.matmul(a.detach().transpose(0, 1)),
      ]
      expectClose(numbers(a.grad as Tensor), numbers(toA), 2e-5)
      expectClose(numbers(b.grad as Tensor), numbers(toB), 2e-5)
    }
  })

  it('trains the matrices alone', async () => {
    const model = smallModel()
    const before = values(model)
    const lora = new LoRA(model, { r: 2 })
    const optimizer = new AdamW(model.parameters(), { lr: 0.02 })
    const losses: number[] = []
    for (let step = 0; step < 40; step++)
      losses.push((await trainStep(model, optimizer, [[X]])).loss)
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.5)
    const after = values(model)
    for (const [name, numbers] of before) expect(after.get(name), name).toEqual(numbers)
    for (const [name, matrix] of lora.namedParameters())
      expect(
        numbers(matrix).some((value) => value !== 0),
        name,
      ).toBe(true)
  })

  it.each(['plain', 'a gated feed-forward', 'narrow embeddings'])(
    'is merged into weights that give the same: %s',
    async (name) => {
      const model = (models[name] as () => AutoregressiveWrapper)().eval()
      const names = [...model.stateDict().keys()]
      const lora = new LoRA(model)
      expect(lora.modules.length).toBeGreaterThan(5)
      randomB(model, lora)
      const [before, matrices] = [await logits(model), lora.parameters()]
      const optimizer = new AdamW(model.parameters())
      lora.merge()
      expectClose(await logits(model), before, 1e-5)
      expect([...model.stateDict().keys()]).toEqual(names)
      expect(model.parameters().every((parameter) => parameter.requires_grad)).toBe(true)
      expect(LoRA.of(model)).toEqual([])
      for (const use of [() => lora.merge(), () => lora.parameters(), () => lora.remove()])
        expectThrows(use, 'invalid_state', 'was merged into the weights')
      expect(() => (matrices[0] as Tensor).dataSync()).toThrow(/disposed/)
      const stale = async () => {
        await (await model.forward(X)).backward()
        await optimizer.step()
      }
      await expectError(stale(), 'disposed', /disposed/)
    },
  )

  it('is removed without a trace', async () => {
    const model = smallModel().eval()
    const [before, state] = [await logits(model), values(model)]
    model.freeze('*.bias')
    const frozen = model.parameters().filter((parameter) => !parameter.requires_grad).length
    for (let times = 0; times < 2; times++) {
      const lora = new LoRA(model)
      randomB(model, lora)
      expect(await logits(model)).not.toEqual(before)
      lora.remove()
      expect(await logits(model)).toEqual(before)
      expect(values(model)).toEqual(state)
      const still = model.parameters().filter((parameter) => !parameter.requires_grad).length
      expect(still).toBe(frozen)
    }
  })

  it('is saved alone, under the names of peft, and loaded into the same base', async () => {
    const [model, other] = [smallModel().eval(), smallModel().eval()]
    other.loadStateDict(model.stateDict())
    const lora = new LoRA(model, { target_modules: '*.to_*', r: 3, lora_alpha: 5 })
    randomB(model, lora)
    const file = new FakeFile()
    await lora.save(file as never)
    const { tensors, metadata } = await loadTensors(file.content)
    expect([...tensors.keys()].sort()).toEqual(
      [...lora.namedParameters().keys()].map((name) => `base_model.model.${name}`).sort(),
    )
    expect(JSON.parse(metadata.lora as string)).toEqual({ r: 3, scale: 5 / 3 })
    const loaded = await LoRA.load(other, file.content)
    expect(loaded.modules).toEqual(lora.modules)
    expect(await logits(other)).toEqual(await logits(model))
    // into matrices that are there
    randomB(other, loaded)
    await loaded.load(new Blob([(await lora.saveBytes()) as BlobPart]))
    expect(await logits(other)).toEqual(await logits(model))
    // with a factor of the caller's
    loaded.remove()
    const twice = await LoRA.load(other, await lora.saveBlob(), { lora_alpha: 10 })
    expect(twice.scale).toBeCloseTo(10 / 3)
  })

  it('goes with checkpoints of the whole model', async () => {
    const model = smallModel().eval()
    new LoRA(model, { target_modules: '*.to_q', r: 2 })
    new LoRA(model, { target_modules: '*.ff.*', r: 4, lora_alpha: 16, use_rslora: true })
    for (const lora of LoRA.of(model)) randomB(model, lora)
    const bytes = await model.saveBytes()
    const loaded = await load<AutoregressiveWrapper>(bytes)
    loaded.eval()
    expect(await logits(loaded)).toEqual(await logits(model))
    const [first, second] = LoRA.of(loaded) as [LoRA, LoRA]
    expect([first.r, first.scale, second.r, second.scale]).toEqual([2, 4, 4, 8])
    expect(first.modules).toEqual(['net.attn_layers.layers.0.1.to_q'])
    expect(loaded.toString()).toContain('lora_A')
    first.merge()
    second.merge()
    expectClose(await logits(loaded), await logits(model), 1e-5)
    expect([...loaded.stateDict().keys()]).toEqual([...smallModel().stateDict().keys()])
  })

  it('works with quantized weights, for inference', async () => {
    const make = () => smallModel({ dim: 32, attn_dim_head: 16 }).eval()
    const model = make()
    const lora = new LoRA(model)
    randomB(model, lora)
    // quantized weights are on the CPU
    const whole = await logits(model.cpu())
    model.quantize('q8_0')
    expectClose(await logits(model), whole, 0.05)
    expect(await logits(model)).not.toEqual(whole)
    expectThrows(() => lora.merge(), 'quantized', 'merging LoRA')
    expect(lora.parameters()).toHaveLength(2 * lora.modules.length)
  })

  it('is followed by generation, with kept keys and values', async () => {
    const model = smallModel().eval()
    const generate = async () =>
      numbers(await model.generate(ids(1, 3), 8, { temperature: 0, cache_kv: true } as never))
    const before = await generate()
    const lora = new LoRA(model, { lora_alpha: 200 })
    randomB(model, lora)
    const after = await generate()
    expect(after).not.toEqual(before)
    const plain = numbers(
      await model.generate(ids(1, 3), 8, { temperature: 0, cache_kv: false } as never),
    )
    expect(after).toEqual(plain)
    lora.remove()
    expect(await generate()).toEqual(before)
  })

  it('takes linear layers of models of the user', async () => {
    class Classifier extends Module {
      vit = vit(null)
      heads = [
        new Linear({ in_features: 16, out_features: 4 }),
        new Linear({ in_features: 16, out_features: 2 }),
      ]
      async forward(x: Tensor) {
        return this.heads[1]?.forward(x)
      }
    }
    const model = new Classifier()
    const lora = new LoRA(model, { target_modules: ['heads.*', 'vit.*.to_k'], r: 2 })
    expect(lora.modules.filter((name) => name.startsWith('heads'))).toEqual(['heads.0', 'heads.1'])
    expect(lora.modules.some((name) => name.startsWith('vit.'))).toBe(true)
    const head = model.heads[1] as Linear
    const x = randn([3, 16])
    const before = numbers((await head.forward(x)) as Tensor)
    randomB(model, lora)
    const after = numbers((await head.forward(x)) as Tensor)
    expect(after).not.toEqual(before)
    lora.merge()
    expectClose(numbers((await head.forward(x)) as Tensor), after, 1e-5)
    // the layer itself is the model
    const own = new LoRA(head, { r: 1 })
    expect(own.modules).toEqual([''])
    expect([...own.namedParameters().keys()]).toEqual(['lora_A.weight', 'lora_B.weight'])
    expect(model.stateDict().has('heads.1.lora_A.weight')).toBe(true)
    randomB(head, own)
    const again = await LoRA.load(
      new Linear({ in_features: 16, out_features: 2 }),
      await own.saveBlob(),
    )
    expect(again.modules).toEqual([''])
    own.remove()
  })

  it('is stopped and resumed by a Trainer', async () => {
    const fresh = () => {
      manualSeed(5)
      const model = smallModel({ attn_dropout: 0.1 })
      const lora = new LoRA(model, { r: 2 })
      return { model, optimizer: new AdamW(lora.parameters(), { lr: 0.01 }), lora }
    }
    const data = { [Symbol.iterator]: () => Array.from({ length: 8 }, () => [X]).values() }
    const folder = await newFolder()
    const settings = (steps: number, folder: string) => ({
      ...{ data, steps, checkpoint: { folder, every: 2 } },
    })
    const whole = fresh()
    await new Trainer(whole.model, {
      optimizer: whole.optimizer,
      ...settings(4, `${folder}/a`),
    }).run()
    const first = fresh()
    await new Trainer(first.model, {
      optimizer: first.optimizer,
      ...settings(2, `${folder}/b`),
    }).run()
    const second = fresh()
    const resumed = new Trainer(second.model, {
      optimizer: second.optimizer,
      ...settings(4, `${folder}/b`),
      resume: true,
    } as never)
    await resumed.run()
    expect(values(second.model)).toEqual(values(whole.model))
  })

  it('says what is wrong', async () => {
    const model = smallModel()
    const wrong: [object, string, string][] = [
      [{ r: 0 }, 'invalid_options', 'r must be'],
      [{ r: 1.5 }, 'invalid_options', 'r must be'],
      [{ r: 2 ** 52 }, 'invalid_options', 'from 1 to 65536'],
      [{ lora_alpha: 0 }, 'invalid_options', 'lora_alpha'],
      [{ lora_alpha: Number.NaN }, 'invalid_argument', 'lora_alpha'],
      [{ alpha: 3 }, 'invalid_options', 'alpha'],
      [{ target_modules: [] }, 'invalid_argument', 'target_modules'],
      [{ target_modules: [3] }, 'invalid_argument', 'a pattern'],
      [{ target_modules: 'q_proj' }, 'invalid_argument', 'no linear layer has a name like'],
      [{ target_modules: '*token_emb*' }, 'invalid_argument', 'to_q'],
    ]
    for (const [options, code, words] of wrong)
      expectThrows(() => new LoRA(model, options as never), code, words)
    expect(LoRA.of(model)).toEqual([])
    expect(model.parameters().every((parameter) => parameter.requires_grad)).toBe(true)
    expectThrows(() => new LoRA({} as never), 'invalid_argument', 'a Module')
    const lora = new LoRA(model, { target_modules: '*.to_q' })
    expectThrows(() => new LoRA(model), 'invalid_state', 'has a LoRA already')
    const file = await lora.saveBytes()
    await expectError(LoRA.load(model, file), 'invalid_state', /has a LoRA already/)
    lora.remove()
    await expectError(
      LoRA.load(new Linear({ in_features: 3, out_features: 2 }), file),
      'invalid_checkpoint',
      /of layers that this model does not have/,
    )
    const none = await smallModel().saveBytes()
    await expectError(LoRA.load(model, none), 'invalid_checkpoint', /lora_A/)
    model.dispose()
    expectThrows(() => new LoRA(model), 'disposed', 'disposed')
  })
})
