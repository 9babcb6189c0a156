// The models that Node and the browser both train; every kind of initial value, of random number
// and of layer is in one of them.
import {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  ContinuousTransformerWrapper,
  Decoder,
  Encoder,
  NonAutoregressiveWrapper,
  rand,
  randint,
  randn,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'

export const TOKENS = 64
export const LENGTH = 24

const SMALL = { dim: 32, depth: 2, heads: 2, attn_dim_head: 32 }

const decoder = (layers, net = {}, wrapper = {}) =>
  new AutoregressiveWrapper(
    new TransformerWrapper({
      num_tokens: TOKENS,
      max_seq_len: LENGTH,
      attn_layers: new Decoder({ ...SMALL, ...layers }),
      ...net,
    }),
    wrapper,
  )

const tokens = (length = LENGTH) => randint(0, TOKENS, [4, length])

const next = { batch: () => [tokens(LENGTH + 1)], loss: (model, [x]) => model.forward(x) }

/** A batch of the model that bench/browser trains. */
const BENCH = { tokens: 256, length: 64 }

/** Name: how the model is made, a batch drawn, and its loss computed. */
export const MODELS = {
  'a decoder with dropout everywhere': {
    make: () =>
      decoder(
        {
          rotary_pos_emb: true,
          ff_glu: true,
          use_rmsnorm: true,
          attn_dropout: 0.2,
          ff_dropout: 0.2,
          layer_dropout: 0.2,
        },
        { emb_dropout: 0.1 },
        { mask_prob: 0.15 },
      ),
    ...next,
  },
  'a decoder as in the bench': {
    make: () =>
      decoder(
        { dim: 64, depth: 4, heads: 4, attn_dim_head: 64 },
        { num_tokens: BENCH.tokens, max_seq_len: BENCH.length },
      ),
    batch: () => [randint(0, BENCH.tokens, [4, BENCH.length + 1])],
    loss: next.loss,
  },
  'a decoder with xpos and normed queries': {
    make: () =>
      decoder({
        rotary_xpos: true,
        attn_one_kv_head: true,
        attn_qk_norm: true,
        attn_qk_norm_groups: 2,
      }),
    ...next,
  },
  'a decoder with ALiBi and memory tokens': {
    make: () =>
      decoder(
        {
          alibi_pos_bias: true,
          attn_talking_heads: true,
          attn_num_mem_kv: 3,
          attn_head_scale: true,
          ff_swish: true,
        },
        { num_memory_tokens: 3, l2norm_embed: true },
      ),
    ...next,
  },
  'a decoder with relative positions and deepnorm': {
    make: () =>
      decoder({ rel_pos_bias: true, deepnorm: true, attn_sparse_topk: 5, residual_attn: true }),
    ...next,
  },
  'a decoder with dynamic positions and gates': {
    make: () =>
      decoder({
        dynamic_pos_bias: true,
        gate_residual: true,
        shift_tokens: 1,
        ff_relu_squared: true,
        use_scalenorm: true,
        attn_gate_values: true,
      }),
    ...next,
  },
  'an encoder and a decoder': {
    make: () =>
      new XTransformer({
        dim: 32,
        tie_token_emb: true,
        cross_attn_tokens_dropout: 0.25,
        enc_num_tokens: TOKENS,
        enc_max_seq_len: LENGTH,
        enc_depth: 1,
        enc_heads: 2,
        enc_ff_dropout: 0.2,
        dec_num_tokens: TOKENS,
        dec_max_seq_len: LENGTH,
        dec_depth: 1,
        dec_heads: 2,
        dec_attn_dropout: 0.2,
      }),
    batch: () => [tokens(), tokens()],
    loss: (model, [source, target]) => model.forward(source, target),
  },
  'a model of images': {
    make: () =>
      new ViTransformerWrapper({
        image_size: 16,
        patch_size: 4,
        num_classes: 10,
        emb_dropout: 0.2,
        attn_layers: new Encoder({ ...SMALL, sandwich_norm: true, macaron: true }),
      }),
    batch: () => [rand([4, 3, 16, 16]), randint(0, 10, [4])],
    loss: async (model, [images, labels]) => (await model.forward(images)).crossEntropy(labels),
  },
  'a model of masked tokens': {
    make: () =>
      new NonAutoregressiveWrapper(
        new TransformerWrapper({
          num_tokens: TOKENS + 1,
          max_seq_len: LENGTH,
          num_memory_tokens: 2,
          scaled_sinu_pos_emb: true,
          attn_layers: new Encoder(SMALL),
        }),
        { mask_id: TOKENS, steps: 4, self_cond: true, self_token_critic: true },
      ),
    batch: () => [tokens()],
    loss: async (model, [x]) => (await model.forward(x)).loss,
  },
  'a model of vectors': {
    make: () =>
      new ContinuousAutoregressiveWrapper(
        new ContinuousTransformerWrapper({
          dim_in: 5,
          dim_out: 5,
          max_seq_len: LENGTH,
          emb_dropout: 0.1,
          attn_layers: new Decoder({ ...SMALL, ff_post_act_ln: true, attn_tensor_product: false }),
        }),
      ),
    batch: () => [randn([4, LENGTH, 5])],
    loss: (model, [x]) => model.forward(x),
  },
}
