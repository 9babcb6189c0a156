// The two models of the bench, with weights and tokens that every contender makes for itself from the same formula. Runs in Node and
// in the browser.

/**
 * Sizes as in the Python package's constructor; `heads` are 64 wide, which is its default. Then the batch, and how many calls warm a
 * contender up and make a round.
 */
export const MODELS = {
  tiny: {
    ...{ num_tokens: 256, max_seq_len: 65, dim: 64, depth: 4, heads: 4, rotary: false },
    ...{ batch: 4, length: 64, warm_up: 20, calls: 10 },
  },
  char: {
    ...{ num_tokens: 256, max_seq_len: 257, dim: 256, depth: 6, heads: 8, rotary: true },
    ...{ batch: 8, length: 256, warm_up: 1, calls: 1 },
  },
}

export const DIM_HEAD = 64
/** How many features of a head rotary positions turn. */
export const ROTARY_DIM = 32

/** AdamW's options, and the norm that gradients are clipped to. */
export const TRAINING = {
  lr: 3e-4,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weight_decay: 0.01,
  max_norm: 0.5,
}

/** Numbers from 0 to below 1: mulberry32. */
function generator(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Names and shapes of the Python package's state dict, with a range [low, high] for the values. */
function* layout({ num_tokens, max_seq_len, dim, depth, heads, rotary }) {
  const inner = heads * DIM_HEAD
  const around = (fanIn) => [-(fanIn ** -0.5), fanIn ** -0.5]
  const norm = function* (name) {
    yield [`${name}.weight`, [dim], [0.8, 1.2]]
    yield [`${name}.bias`, [dim], [-0.1, 0.1]]
  }
  yield ['token_emb.emb.weight', [num_tokens, dim], [-0.5, 0.5]]
  if (!rotary) yield ['pos_emb.emb.weight', [max_seq_len, dim], [-1, 1]]
  for (let layer = 0; layer < depth; layer++) {
    const attention = `attn_layers.layers.${2 * layer}`
    yield* norm(`${attention}.0.0`)
    for (const to of ['to_q', 'to_k', 'to_v'])
      yield [`${attention}.1.${to}.weight`, [inner, dim], around(dim)]
    yield [`${attention}.1.to_out.weight`, [dim, inner], around(inner)]
    const feedForward = `attn_layers.layers.${2 * layer + 1}`
    yield* norm(`${feedForward}.0.0`)
    yield [`${feedForward}.1.ff.0.0.weight`, [4 * dim, dim], around(dim)]
    yield [`${feedForward}.1.ff.0.0.bias`, [4 * dim], around(dim)]
    yield [`${feedForward}.1.ff.3.weight`, [dim, 4 * dim], around(4 * dim)]
    yield [`${feedForward}.1.ff.3.bias`, [dim], around(4 * dim)]
  }
  yield* norm('norm')
  yield ['to_logits.weight', [num_tokens, dim], around(dim)]
  yield ['to_logits.bias', [num_tokens], around(dim)]
}

/** `inv_freq` of rotary positions: one for each pair of turned features. */
export function inverseFrequencies() {
  return Float32Array.from({ length: ROTARY_DIM / 2 }, (_, i) => 10000 ** ((-2 * i) / ROTARY_DIM))
}

/** The state dict of a model: name -> { shape, data }. */
export function weights(model) {
  const random = generator(1)
  const values = (shape, [low, high]) =>
    Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => low + (high - low) * random(),
    )
  const dict = new Map()
  for (const [name, shape, range] of layout(model))
    dict.set(name, { shape, data: values(shape, range) })
  if (model.rotary) {
    dict.set('attn_layers.rotary_pos_emb.inv_freq', {
      shape: [ROTARY_DIM / 2],
      data: inverseFrequencies(),
    })
  }
  return dict
}

/** Token ids of a batch, (batch, length + 1): each row has one more than the model reads, as its last target. */
export function tokens({ num_tokens, batch, length }) {
  const random = generator(2)
  return Int32Array.from({ length: batch * (length + 1) }, () => Math.floor(random() * num_tokens))
}

/** The first `length` ids of each row, (batch, length): what the model reads. */
export function inputs(model) {
  return tokens(model).filter((_, i) => i % (model.length + 1) !== model.length)
}

/** All but the first id of each row, (batch, length): what the model is to say. */
export function targets(model) {
  return tokens(model).filter((_, i) => i % (model.length + 1) !== 0)
}
