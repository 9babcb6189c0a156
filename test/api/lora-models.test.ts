// LoRA of models of the user's own, several of one model, and what is frozen meanwhile.
import { describe, expect, it } from 'vitest'
import { AutoregressiveWrapper, EMA, Linear, LoRA, load, Module, type Tensor } from 'x-transformers'
import { expectError } from './bytes.js'
import { expectClose, expectThrows, numbers, smallModel, smallNet } from './helpers.js'
import { frozenIn, logits, randomB, values, X } from './updates.js'

class Shared extends Module {
  inner = smallNet()
  model = new AutoregressiveWrapper(this.inner)
  forward(x: Tensor) {
    return this.model.forward(x)
  }
}

/** A layer of 32 to 32, whose rows can be quantized. */
const linear = (size = 32) => new Linear({ in_features: size, out_features: 32 })

class Pair extends Module {
  a: Linear
  b: Linear
  constructor(a: Linear, b: Linear) {
    super()
    this.a = a
    this.b = b
  }
  forward() {}
}

describe('a layer with several names', () => {
  it('gets one update, which is told by the first of them', async () => {
    const model = new Shared()
    model.eval()
    const [before, names] = [await logits(model.model), [...model.stateDict().keys()]]
    for (const target_modules of ['*.to_q', 'inner.*.to_q', 'model.*.to_q']) {
      const lora = new LoRA(model, { target_modules, r: 2 })
      expect(lora.modules).toEqual(['inner.attn_layers.layers.0.1.to_q'])
      expect(lora.parameters()).toHaveLength(2)
      randomB(model, lora)
      const after = await logits(model.model)
      expect(after).not.toEqual(before)
      expect(LoRA.of(model).map(({ modules }) => modules)).toEqual([lora.modules])
      const file = await lora.saveBytes()
      lora.remove()
      expect([...model.stateDict().keys()]).toEqual(names)
      // under the name that the wrapper alone has for it
      const again = await LoRA.load(model, file)
      expect(await logits(model.model)).toEqual(after)
      LoRA.of(model)[0]?.remove()
      expect(again.parameters()).toEqual([])
    }
    expect(await logits(model.model)).toEqual(before)
  })

  it('may be one Linear under two properties', () => {
    const layer = linear()
    const model = new Pair(layer, layer)
    const lora = new LoRA(model)
    expect(lora.modules).toEqual(['a'])
    expect(LoRA.of(model)).toHaveLength(1)
    lora.merge()
    expect([...model.stateDict().keys()]).toEqual(['a.weight', 'a.bias', 'b.weight', 'b.bias'])
  })
})

describe('a change of several models', () => {
  it('is undone where one of them has no memory for it', () => {
    const model = new Pair(linear(), linear(2 ** 42))
    expectThrows(() => new LoRA(model), 'out_of_memory', 'LoRA of rank 8')
    expect(LoRA.of(model)).toEqual([])
    expect(LoRA.of(model.a)).toEqual([])
    expect(frozenIn(model.a)).toBe(0)
  })

  it('merges all of them or none', () => {
    const model = new Pair(linear(), linear())
    // quantized weights are on the CPU
    model.cpu()
    const lora = new LoRA(model)
    randomB(model, lora)
    model.b.quantize('q8_0')
    const before = values(model)
    expectThrows(() => lora.merge(), 'quantized', 'merging LoRA')
    expect(values(model)).toEqual(before)
    expect(lora.parameters()).toHaveLength(4)
    model.b.loadStateDict(linear().cpu().stateDict(), { strict: false })
    lora.merge()
    expect(LoRA.of(model)).toEqual([])
  })
})

describe('several LoRA of one model', () => {
  it('keep it frozen until the last one is gone', () => {
    const model = smallModel()
    const own = model.freeze('*.bias').length
    const first = new LoRA(model, { target_modules: '*.to_q' })
    const second = new LoRA(model, { target_modules: '*.to_v' })
    const all = model.parameters().length
    expect(frozenIn(model)).toBe(all - 4)
    first.merge()
    expect(frozenIn(model)).toBe(all - 4)
    expect(second.parameters().every(({ requires_grad }) => requires_grad)).toBe(true)
    second.remove()
    expect(frozenIn(model)).toBe(own)
    // whichever object ends it
    new LoRA(model)
    for (const lora of LoRA.of(model)) lora.remove()
    expect(frozenIn(model)).toBe(own)
    // in a part, and in all
    const inner = new LoRA(model.net, { target_modules: '*.to_q' })
    const outer = new LoRA(model, { target_modules: '*.to_v' })
    inner.remove()
    expect(frozenIn(model)).toBe(all - 4)
    outer.remove()
    expect(frozenIn(model)).toBe(own)
  })

  it('are told by rank and factor, in models of models too', () => {
    class Two extends Module {
      a = smallModel()
      b = smallModel()
      forward() {}
    }
    const model = new Two()
    new LoRA(model, { target_modules: '*.to_q', r: 2 })
    new LoRA(model, { target_modules: ['a.*.to_v'], r: 4 })
    new LoRA(model, { target_modules: ['b.*.to_k'], r: 2, lora_alpha: 8 })
    const layer = 'net.attn_layers.layers.0.1'
    const [a, b] = [`a.${layer}`, `b.${layer}`]
    expect(LoRA.of(model).map(({ modules, r, scale }) => ({ modules, r, scale }))).toEqual([
      { modules: [`${a}.to_q`, `${b}.to_q`, `${b}.to_k`], r: 2, scale: 4 },
      { modules: [`${a}.to_v`], r: 4, scale: 2 },
    ])
  })

  it('of a checkpoint freeze nothing, unless that is asked for', async () => {
    const model = smallModel()
    const lora = new LoRA(model, { target_modules: '*.to_q' })
    const loaded = await load<AutoregressiveWrapper>(await model.saveBytes())
    const [plain] = LoRA.of(loaded) as [LoRA]
    expect(frozenIn(loaded)).toBe(0)
    expect(plain.modules).toEqual(lora.modules)
    const [frozen] = LoRA.of(loaded, { freeze: true }) as [LoRA]
    expect(frozenIn(loaded)).toBe(loaded.parameters().length - 2)
    frozen.merge()
    expect(frozenIn(loaded)).toBe(0)
    expectThrows(() => LoRA.of(loaded, { thaw: true } as never), 'invalid_options', 'thaw')
  })
})

describe('a LoRA with averages', () => {
  it('is averaged as all parameters are, and saved with them', async () => {
    const model = smallModel().eval()
    const lora = new LoRA(model, { target_modules: '*.to_q', r: 2 })
    const ema = new EMA(model, { decay: 0.5 })
    randomB(model, lora)
    const b = lora.parameters()[1] as Tensor
    await ema.update()
    await ema.apply()
    const [half, averaged] = [numbers(b), await logits(model)]
    await ema.restore()
    expectClose(
      half.map((value) => value * 2),
      numbers(b),
      1e-6,
    )
    const loaded = await load<AutoregressiveWrapper>(await ema.saveBytes())
    expect(LoRA.of(loaded)).toHaveLength(1)
    expect(await logits(loaded.eval() as AutoregressiveWrapper)).toEqual(averaged)
    // the averages are of parameters that are no more
    lora.merge()
    await expectError(ema.update(), 'disposed', /disposed/)
    ema.dispose()
    await model.forward(X)
  })
})
