/** Attention maps, small enough for a page. */
import { checkInteger, checkList, checkOptions, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { AutoregressiveWrapper } from '../models/autoregressive.js'
import { TransformerWrapper } from '../models/transformer.js'
import { noGrad } from '../tensor/grad-mode.js'
import { randomState, setRandomState } from '../tensor/random.js'
import type { Tensor } from '../tensor/tensor.js'
import type { AttentionMaps } from './data.js'

/** Most weights of all maps together. */
const MOST = 2 ** 22

/** Options of {@link attentionMaps}. */
export interface AttentionOptions {
  /**
   * At most so many tokens are looked at, from the first on, and no more than the `max_seq_len` of
   * the model; fewer where it has many layers and heads.
   *
   * @default 64
   */
  max_tokens?: number | undefined
}

/**
 * What each head of each layer attends to in a text, for a report. The model computes it in eval
 * mode, without drawing random numbers of a run.
 *
 * @param ids the ids of the tokens
 * @param tokens what stands for each of them in the report
 * @throws XTransformersError (`invalid_argument`), also for a model without attention
 * @example
 * const ids = tokenizer.encode('to be or not to be')
 * const maps = await attentionMaps(model, ids, ids.map((id) => tokenizer.decode([id])))
 */
export async function attentionMaps(
  model: TransformerWrapper | AutoregressiveWrapper,
  ids: readonly number[],
  tokens: readonly string[],
  options: AttentionOptions = {},
): Promise<AttentionMaps> {
  const { max_tokens } = checkOptions(options, 'attentionMaps()', ['max_tokens'])
  const net = model instanceof AutoregressiveWrapper ? model.net : model
  if (!(net instanceof TransformerWrapper))
    throw refuse('the model', 'a TransformerWrapper or an AutoregressiveWrapper', model)
  const [allIds, allTokens] = [checkList(ids, 'ids', 'ids'), checkList(tokens, 'tokens', 'texts')]
  if (allIds.length !== allTokens.length || allIds.length === 0) {
    const message = `there must be as many tokens as ids, and one at least; got ${allTokens.length} and ${allIds.length}`
    throw new XTransformersError('invalid_argument', message)
  }
  let count = Math.min(allIds.length, net.options.max_seq_len || Infinity, checkMost(max_tokens))
  for (;;) {
    const maps = await mapsOf(net, allIds.slice(0, count))
    try {
      if (maps.length === 0) {
        const message = 'the model has no attention to show: its custom_layers are others alone'
        throw new XTransformersError('invalid_argument', message)
      }
      const { length: layers } = maps
      const [, heads, rows, columns] = (maps[0] as Tensor).shape as [number, number, number, number]
      const fitting = Math.floor(count * Math.sqrt(MOST / (layers * heads * rows * columns)))
      if (fitting >= count || count === 1) return asData(maps, allTokens.slice(0, count))
      count = Math.max(1, fitting)
    } finally {
      for (const map of maps) map.dispose()
    }
  }
}

function checkMost(max_tokens: unknown): number {
  if (max_tokens === undefined || max_tokens === null) return 64
  const most = checkInteger(max_tokens, 'max_tokens')
  if (most >= 1) return most
  throw refuse('max_tokens', 'from 1', max_tokens)
}

/** The maps of each attention, (1, heads, queries, keys). */
async function mapsOf(model: TransformerWrapper, ids: number[]): Promise<Tensor[]> {
  const [random, training] = [randomState(), model.training]
  model.eval()
  try {
    const [logits, maps] = await noGrad(() => model.forward([ids], { return_attn: true }))
    logits.dispose()
    return maps
  } finally {
    model.train(training)
    setRandomState(random)
  }
}

/** Names of rows or columns: memories before the tokens. */
const labels = (count: number, tokens: readonly string[]) =>
  Array.from({ length: count }, (_, i) => {
    const memories = count - tokens.length
    return i < memories ? `memory ${i}` : (tokens[i - memories] as string)
  })

function asData(maps: readonly Tensor[], tokens: readonly string[]): AttentionMaps {
  const [, , rows, columns] = (maps[0] as Tensor).shape as [number, number, number, number]
  const layers = maps.map((map) => {
    const [, heads, queries, keys] = map.shape as [number, number, number, number]
    const weights = map.dataSync() as Float32Array
    const size = queries * keys
    return Array.from({ length: heads }, (_, head) =>
      base64(Uint8Array.from(weights.subarray(head * size, (head + 1) * size), asByte)),
    )
  })
  return { queries: labels(rows, tokens), keys: labels(columns, tokens), layers }
}

const asByte = (weight: number) => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, weight))))

/** Bytes at once, for calls with many arguments. */
const CHUNK = 2 ** 12

function base64(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += CHUNK)
    text += String.fromCharCode(...bytes.subarray(at, at + CHUNK))
  return btoa(text)
}
