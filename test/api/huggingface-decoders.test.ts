// Decoders of Hugging Face give what Python's transformers has recorded (test/huggingface).
import { describe, expect, it } from 'vitest'
import { AutoregressiveWrapper } from 'x-transformers'
import { CASES, type Recorded, recordedCase } from './huggingface.js'
import { expectGradients, expectNear, ids, loadCase, maskOf } from './huggingface-cases.js'

const recordings = await Promise.all(CASES.map(recordedCase))
const decoders = recordings.filter(({ forward_padded }) => forward_padded !== undefined)
const named = (list: readonly Recorded[]) => list.map((one) => [one.case, one] as const)

const decoderOf = async (recorded: Recorded) => {
  const loaded = await loadCase(recorded)
  return { ...loaded, model: loaded.model }
}

describe.each(named(decoders))('%s', (_, recorded) => {
  it('has the logits, the loss and its gradients', async () => {
    const { forward } = recorded
    const loaded = await decoderOf(recorded)
    const logits = await loaded.model.forward(ids(forward.input_ids))
    expectNear(logits, forward.logits)
    const vocab = logits.shape.at(-1) as number
    const guesses = logits.slice(1, 0, -1).reshape([-1, vocab])
    const next = ids(forward.input_ids.map((row: number[]) => row.slice(1))).reshape([-1])
    const loss = guesses.crossEntropy(next)
    expectNear(loss, forward.loss)
    await loss.backward()
    expectGradients(loaded, forward.gradients)
  })

  if (recorded.forward_long)
    it('has the logits of a longer text', async () => {
      const { model } = await decoderOf(recorded)
      const logits = await model.forward(ids(recorded.forward_long.input_ids))
      expectNear(logits, recorded.forward_long.logits)
    })

  it('has the logits of rows with padding on the left', async () => {
    const { input_ids, attention_mask, position_ids, last_logits } = recorded.forward_padded
    const { model } = await decoderOf(recorded)
    const mask = maskOf(attention_mask)
    const logits = await model.forward(ids(input_ids), { mask, pos: ids(position_ids) })
    expectNear(logits.select(1, -1), last_logits)
  })

  it('generates the tokens, with a cache and without', async () => {
    const { model } = await decoderOf(recorded)
    const writer = new AutoregressiveWrapper(model)
    for (const name of ['generate', 'generate_padded']) {
      const { input_ids, attention_mask, tokens, tokens_without_cache } = recorded[name]
      const mask = attention_mask && maskOf(attention_mask)
      const count = tokens[0].length
      const options = { temperature: 0, mask }
      const cached = await writer.generate(ids(input_ids), count, options)
      const plain = await writer.generate(ids(input_ids), count, { ...options, cache_kv: false })
      // where angles depend on the length, nothing is cached, and each row counts its own length,
      // where transformers takes the longest one for all
      const alone = (row: number) => !attention_mask?.[row].includes(0)
      const compared = (rows: unknown) =>
        (rows as number[][]).filter((_, row) => !tokens_without_cache || alone(row))
      const want = compared(tokens_without_cache ?? tokens)
      expect(want.length).toBeGreaterThan(0)
      expect(compared(cached.toArray()), name).toEqual(want)
      expect(compared(plain.toArray()), `${name} without a cache`).toEqual(want)
    }
  })
})
