// Encoders, ViT and T5 of Hugging Face give what Python's transformers has recorded.
import { describe, expect, it } from 'vitest'
import { type Tensor, tensor, type ViTransformerWrapper, type XTransformer } from 'x-transformers'
import type { Heads } from 'x-transformers/huggingface'
import { CASES, type Recorded, recordedCase } from './huggingface.js'
import {
  expectGradients,
  expectNear,
  expectNearWhere,
  ids,
  loadCase,
  maskOf,
  probeOf,
} from './huggingface-cases.js'

const recordings = await Promise.all(CASES.map(recordedCase))
const having = (key: string) =>
  recordings.filter(({ forward }) => forward[key]).map((one) => [one.case, one] as const)

/** The sum of what an encoder gives, times its probe; hidden states count where they are real. */
function probed(hidden: Tensor, pooled: Tensor, mask?: Tensor): Tensor {
  const weighted = hidden.mul(probeOf(hidden).cast('f32'))
  const real = mask ? weighted.mul(mask.unsqueeze(2)) : weighted
  return real.sum().add(pooled.mul(probeOf(pooled).cast('f32')).sum())
}

/** A head, which the case has. */
function head<Name extends keyof Heads>({ heads }: { heads: Heads }, name: Name) {
  const found = heads[name]
  if (!found) throw new Error(`there is no head ${name}`)
  return found as NonNullable<Heads[Name]>
}

/** The loss of a case: that of its heads for pretraining, or of the probes. */
async function lossOf(
  recorded: Recorded,
  loaded: { heads: Heads },
  hidden: Tensor,
  pooled: Tensor,
): Promise<Tensor> {
  const { forward } = recorded
  if (!forward.labels) return probed(hidden, pooled, ids(forward.attention_mask).cast('f32'))
  const words = await head(loaded, 'mlm').forward(hidden)
  expectNearWhere(words, forward.prediction_logits, forward.attention_mask)
  const order = await head(loaded, loaded.heads.nsp ? 'nsp' : 'sop').forward(pooled)
  expectNear(order, forward.sentence_logits)
  const labels = ids(forward.labels).reshape([-1])
  const vocab = words.shape.at(-1) as number
  const masked = words.reshape([-1, vocab]).crossEntropy(labels, { ignore_index: -100 })
  const which: number[] = forward.next_sentence_label ?? forward.sentence_order_label
  return masked.add(order.crossEntropy(tensor(which, { dtype: 'i64' })))
}

describe.each(having('token_type_ids'))('%s', (_, recorded) => {
  it('has the hidden states, the heads, the loss and its gradients', async () => {
    const { forward } = recorded
    const loaded = await loadCase(recorded)
    const model = loaded.model
    const mask = maskOf(forward.attention_mask)
    const embed_ids = { token_type: ids(forward.token_type_ids) }
    const hidden = await model.forward(ids(forward.input_ids), { mask, embed_ids })
    expectNearWhere(hidden, forward.last_hidden_state, forward.attention_mask)
    const pooled = await head(loaded, 'pooler').forward(hidden)
    expectNear(pooled, forward.pooler_output)
    const loss = await lossOf(recorded, loaded, hidden, pooled)
    expectNear(loss, forward.loss)
    await loss.backward()
    expectGradients(loaded, forward.gradients)
  })
})

/** Nested numbers of pixels, (batch, channels, height, width). */
const imagesOf = (pixels: number[][][][]) => {
  const shape = [pixels.length, 3, 12, 12]
  return tensor(Float32Array.from(pixels.flat(3)), { shape })
}

describe.each(having('pixel_values'))('%s', (_, recorded) => {
  it('has the hidden states, the logits or the pooler, the loss and its gradients', async () => {
    const { forward } = recorded
    const loaded = await loadCase<ViTransformerWrapper>(recorded)
    const { model } = loaded
    const images = imagesOf(forward.pixel_values)
    const hidden = await model.forward(images, { return_embeddings: true })
    expectNear(hidden, forward.last_hidden_state)
    let loss: Tensor
    if (forward.logits) {
      const logits = await model.forward(images)
      expectNear(logits, forward.logits)
      loss = logits.crossEntropy(tensor(forward.labels as number[], { dtype: 'i64' }))
    } else {
      const pooled = await head(loaded, 'pooler').forward(hidden)
      expectNear(pooled, forward.pooler_output)
      loss = probed(hidden, pooled)
    }
    expectNear(loss, forward.loss)
    await loss.backward()
    expectGradients(loaded, forward.gradients)
  })
})

describe.each(having('decoder_input_ids'))('%s', (_, recorded) => {
  it('has the logits, the loss and its gradients', async () => {
    const { forward } = recorded
    const loaded = await loadCase<XTransformer>(recorded)
    const { model } = loaded
    const mask = maskOf(forward.attention_mask)
    const src = ids(forward.input_ids)
    const options = { mask, return_logits: true }
    const logits = await model.forward(src, ids(forward.decoder_input_ids), options)
    expectNear(logits, forward.logits)
    // the loss of the model itself: the start, then the labels
    const rows = forward.labels.map((row: number[], i: number) => [
      forward.decoder_input_ids[i][0],
      ...row,
    ])
    const loss = await model.forward(src, ids(rows), { mask })
    expectNear(loss, forward.loss)
    await loss.backward()
    expectGradients(loaded, forward.gradients)
  })

  it('generates the tokens, with a cache and without', async () => {
    const { input_ids, attention_mask, tokens } = recorded.generate
    const { model, tokens: special } = await loadCase<XTransformer>(recorded)
    const start = ids(input_ids.map(() => [special.decoder_start]))
    for (const cache_kv of [true, false]) {
      const options = { mask: maskOf(attention_mask), temperature: 0, cache_kv }
      const count = tokens[0].length
      const made = await model.generate(ids(input_ids), start, count, options)
      expect(made.toArray()).toEqual(tokens)
    }
  })
})
