// Models in which dropout can be seen: what was dropped is exactly 0.
import {
  Attention,
  CrossAttender,
  Encoder,
  ones,
  randint,
  randn,
  TransformerWrapper,
  tensor,
} from 'x-transformers'

const values = (x) => Array.from(x.dataSync(), Number)
const kept = (x) => values(x).map((value) => Number(value !== 0))

const identity = (n) =>
  tensor(
    Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
    { shape: [n, n] },
  )

/** With values and output left as they are, attention gives its map: here, after dropout. */
async function attention() {
  const n = 64
  const model = new Attention({ dim: n, heads: 1, dim_head: n, dropout: 0.4 })
  const state = ['to_v.weight', 'to_out.weight'].map((name) => [name, identity(n)])
  const { unexpected } = model.loadStateDict(new Map(state), { strict: false })
  if (unexpected.length > 0) throw new Error(`no such parameters: ${unexpected}`)
  const [map] = await model.forward(identity(n).reshape([1, n, n]))
  return kept(map)
}

/** The gradient of the last weights has a factor of what came in. */
async function feedForward() {
  const model = new Encoder({ dim: 64, depth: 1, heads: 1, custom_layers: ['f'], ff_dropout: 0.4 })
  const y = await model.forward(randn([1, 1, 64]))
  await y
    .mul(randn([64]))
    .sum()
    .backward()
  const { grad } = model.namedParameters().get('layers.0.1.ff.3.weight')
  return kept(grad.slice(0, 0, 1))
}

/**
 * A token that stands once has in its gradient what dropout let through, which backward draws
 * again.
 */
async function embeddings() {
  const attn_layers = new Encoder({ dim: 32, depth: 1, heads: 2 })
  const model = new TransformerWrapper({
    num_tokens: 100,
    max_seq_len: 100,
    emb_dropout: 0.4,
    attn_layers,
  })
  const x = tensor(
    BigInt64Array.from({ length: 100 }, (_, i) => BigInt(i)),
    { shape: [1, 100] },
  )
  const y = await model.forward(x, { return_embeddings: true })
  await y
    .mul(randn([32]))
    .sum()
    .backward()
  return kept(model.namedParameters().get('token_emb.emb.weight').grad)
}

/** Tokens of the context that no layer looked at have no gradient. */
async function contextTokens() {
  const model = new CrossAttender({ dim: 32, depth: 1, heads: 2, cross_attn_tokens_dropout: 0.4 })
  const context = randn([4, 50, 32], { requires_grad: true })
  const y = await model.forward(ones([4, 3, 32]).mul(randn([32])), { context })
  await y
    .mul(randn([32]))
    .sum()
    .backward()
  return kept(context.grad.abs().sum(2))
}

/** A layer that was left out gets no gradient. */
async function layers() {
  const attn_layers = new Encoder({
    dim: 16,
    depth: 16,
    heads: 1,
    attn_dim_head: 8,
    layer_dropout: 0.4,
  })
  const model = new TransformerWrapper({ num_tokens: 10, max_seq_len: 4, attn_layers })
  const y = await model.forward(randint(0, 10, [1, 4]))
  await y
    .mul(randn([10]))
    .sum()
    .backward()
  const names = attn_layers.namedParameters()
  return [...names]
    .filter(([name]) => name.endsWith('weight'))
    .map(([, { grad }]) => Number(grad !== null))
}

/** Name: function that gives 1 for what was kept and 0 for what was dropped. */
export const MASKS = { attention, feedForward, embeddings, contextTokens, layers }
