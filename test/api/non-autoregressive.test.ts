import { describe, expect, it } from 'vitest'
import { AdamW, manualSeed, NonAutoregressiveWrapper } from 'x-transformers'
import { ids, numbers } from './helpers.js'
import { masked } from './zoo.js'

const MASK = 10
const x = ids(2, 8, MASK)

describe('masked generation', () => {
  it('gives one loss without a critic, a sum with one', async () => {
    const plain = await new NonAutoregressiveWrapper(masked(), { mask_id: MASK }).forward(x)
    expect(plain.critic_loss).toBeNull()
    expect(plain.loss.item()).toBe(plain.generator_loss.item())

    const critic_loss_weight = 0.5
    const model = new NonAutoregressiveWrapper(masked(), {
      mask_id: MASK,
      self_token_critic: true,
      critic_loss_weight,
    })
    const both = await model.forward(x)
    const sum =
      Number(both.generator_loss.item()) + critic_loss_weight * Number(both.critic_loss?.item())
    expect(both.loss.item()).toBeCloseTo(sum, 5)
  })

  it('trains the generator alone, or the critic alone', async () => {
    const critic = masked(1)
    const net = masked()
    const model = new NonAutoregressiveWrapper(net, { mask_id: MASK, token_critic: critic })
    const generator = await model.forward(x, { only_train_generator: true })
    expect(generator.critic_loss).toBeNull()

    const { loss, generator_loss, critic_loss } = await model.forward(x, {
      only_train_critic: true,
    })
    expect(generator_loss).toBeNull()
    expect(loss.item()).toBe(critic_loss?.item())
    await loss.backward()
    expect(net.parameters().every((p) => p.grad === null)).toBe(true)
    expect(critic.parameters().some((p) => p.grad !== null)).toBe(true)
  })

  it.each(['linear', 'cosine'] as const)(
    'generates every token, with the schedule %s',
    async (schedule) => {
      const options = {
        mask_id: MASK,
        steps: 4,
        schedule,
        self_cond: true,
        self_token_critic: true,
      }
      const model = new NonAutoregressiveWrapper(masked(), options)
      const one = await model.generate()
      expect(one.shape).toEqual([8])
      expect(one.dtype).toBe('i64')
      const two = model.generateSync({ batch_size: 2, filter_thres: null, start_temperature: 0.5 })
      expect(two.shape).toEqual([2, 8])
      expect(numbers(two).every((id) => id >= 0 && id <= MASK)).toBe(true)
      expect(model.training).toBe(true)
    },
  )

  it('learns its training data', async () => {
    manualSeed(1)
    const net = masked()
    const model = new NonAutoregressiveWrapper(net, { mask_id: MASK, steps: 4 })
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const row = ids(1, 8, MASK)
    for (let step = 0; step < 150; step++) {
      using loss = (await model.forward(row)).loss
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
    expect(numbers(await model.generate({ start_temperature: 0 }))).toEqual(numbers(row))
  })

  it('lists shared parameters once', () => {
    const model = new NonAutoregressiveWrapper(masked(), {
      mask_id: MASK,
      self_cond: true,
      self_token_critic: true,
    })
    const names = [...model.namedParameters().keys()]
    expect(names.filter((name) => name.includes('token_emb'))).toEqual(['net.token_emb.emb.weight'])
    for (const name of ['null_embed', 'to_self_cond.weight', 'token_critic.to_logits.bias'])
      expect(names).toContain(name)
  })

  it('accepts a signal', async () => {
    const model = new NonAutoregressiveWrapper(masked(), { mask_id: MASK })
    await expect(model.generate({ signal: AbortSignal.abort('no') })).rejects.toBe('no')
  })

  it('reports incompatible options', () => {
    const make = (options: object) => () =>
      new NonAutoregressiveWrapper(masked(), { mask_id: MASK, ...options })
    expect(make({ mask_id: 11 })).toThrow(/mask_id/)
    expect(make({ token_critic: masked() })).toThrow(/logits_dim/)
    expect(make({ token_critic: masked(1), self_token_critic: true })).toThrow(/choose one/)
    expect(make({ schedule: 'quadratic' })).toThrow(/cosine/)
  })
})
