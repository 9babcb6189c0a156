import { describe, expect, it } from 'vitest'
import * as main from 'x-transformers'
import type { RemoteModel } from 'x-transformers/worker'
import { numbers as mainNumbers, ids as mainTokens } from '../api/helpers.js'
import { ids, LAYERS, library, NET, numbers, smallModel } from './helpers.js'

const ownModel = () =>
  new main.AutoregressiveWrapper(
    new main.TransformerWrapper({ ...NET, attn_layers: new main.Decoder(LAYERS) }),
  )

const weights = async (model: RemoteModel) =>
  [...(await model.stateDict())].map(([name, tensor]) => [name, numbers(tensor)] as const)

const OPTIONS = { target_modules: ['*.to_q', /ff\.3$/g], r: 2, lora_alpha: 6 }

describe('a LoRA of a model in a worker', () => {
  it('is that of the main library', async () => {
    main.manualSeed(5)
    const own = ownModel()
    const ownLoRA = new main.LoRA(own, OPTIONS)
    const ownOptimizer = new main.AdamW(own.parameters(), { lr: 0.05 })

    const x = await library()
    x.manualSeed(5)
    const model = smallModel(x)
    const lora = await new x.LoRA(model, OPTIONS).ready
    expect(await lora.describe()).toEqual({ modules: [...ownLoRA.modules], r: 2, scale: 3 })
    const optimizer = new x.AdamW(model, { lr: 0.05 })
    for (let i = 0; i < 3; i++) {
      await main.trainStep(own, ownOptimizer, [[mainTokens(2, 9)]])
      await x.trainStep({ model, optimizer, batches: [[ids(2, 9)]] })
    }
    const want = [...own.stateDict()].map(([name, tensor]) => [name, mainNumbers(tensor)] as const)
    expect(await weights(model)).toEqual(want)
    expect(await lora.saveBytes()).toEqual(await ownLoRA.saveBytes())
    await lora.merge()
    ownLoRA.merge()
    const merged = [...own.stateDict()].map(([name, tensor]) => [name, mainNumbers(tensor)])
    expect(await weights(model)).toEqual(merged)
    await expect(lora.merge()).rejects.toThrow(/was merged into the weights/)
  })

  it('comes from a file, and is removed', async () => {
    const x = await library()
    const model = smallModel(x)
    const before = await weights(model)
    const lora = new x.LoRA(model, OPTIONS)
    const file = await lora.saveBytes()
    await lora.load(file)
    await lora.remove()
    expect(await weights(model)).toEqual(before)
    const loaded = await x.LoRA.load(model, new Blob([file as BlobPart]), { lora_alpha: 4 })
    expect((await loaded.describe()).scale).toBe(2)
    expect(await loaded.saveBytes()).not.toEqual(file)
    // the matrices are the model's
    const state = await weights(model)
    expect(state.length).toBe(before.length + 4)
    loaded.dispose()
    expect(await weights(model)).toEqual(state)
    const loadedModel = await x.load(await model.saveBytes())
    expect((await weights(loadedModel)).length).toBe(state.length)
  })

  it('is found in a model that was loaded', async () => {
    const x = await library()
    const model = smallModel(x)
    const before = await weights(model)
    const lora = await new x.LoRA(model, OPTIONS).ready
    new x.LoRA(model, { target_modules: '*.to_v', r: 1 })
    const loaded = await x.load(await model.saveBytes())
    const found = await x.LoRA.of(loaded)
    const told = await Promise.all(found.map((one) => one.describe()))
    expect(told.map(({ r, scale }) => [r, scale]).sort()).toEqual([
      [1, 8],
      [2, 3],
    ])
    const own = found[told.findIndex(({ r }) => r === 2)]
    expect(await own?.describe()).toEqual(await lora.describe())
    expect(await own?.saveBytes()).toEqual(await lora.saveBytes())
    // nothing is frozen, unless that is asked for
    expect(await loaded.freeze('*.lora_?.weight')).toHaveLength(6)
    await loaded.unfreeze()
    expect(await x.LoRA.of(loaded, { freeze: true })).toHaveLength(2)
    await expect(loaded.unfreeze()).resolves.toHaveLength(before.length)
    for (const one of found) {
      await one.remove()
      one.dispose()
    }
    expect(await weights(loaded)).toEqual(before)
    expect(await x.LoRA.of(loaded)).toEqual([])
  })

  it('says what is wrong', async () => {
    const [x, other] = [await library(), await library()]
    const model = smallModel(x)
    expect(() => new other.LoRA(model)).toThrow(/one of this worker/)
    expect(() => new x.LoRA(model, { r: 0 })).toThrow(/r must be/)
    expect(() => new x.LoRA(model, { options: {} } as never)).toThrow(/options/)
    await expect(other.LoRA.of(model)).rejects.toThrow(/LoRA.of\(\) must be one of this worker/)
    await expect(x.LoRA.of(model, { r: 2 } as never)).rejects.toThrow(/r is not an option/)
    const none = new x.LoRA(model, { target_modules: 'q_proj' })
    await expect(none.ready).rejects.toThrow(/no linear layer has a name like/)
    await expect(none.merge()).rejects.toThrow(/no linear layer has a name like/)
    await expect(x.LoRA.load(model, await model.saveBytes())).rejects.toThrow(/lora_A/)
    await expect(x.LoRA.load(model, new Uint8Array(3), { r: 2 } as never)).rejects.toThrow(/r/)
  })
})
