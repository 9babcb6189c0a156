// The work that this package and the Python package are compared on: each gives a function that does it once. workloads.py has the same
// for Python; sizes and options must stay equal.

/** How often a workload runs before it is measured, and how many of its runs one turn takes. */
const TURNS = {
  gpt_forward: { warm_up: 1, runs: 3 },
  gpt_train_step: { warm_up: 1, runs: 2 },
  palm_train_step: { warm_up: 1, runs: 2 },
  char_train_step: { warm_up: 1, runs: 5 },
  tiny_train_step: { warm_up: 10, runs: 60 },
  encdec_train_step: { warm_up: 1, runs: 2 },
  vit_forward: { warm_up: 1, runs: 7 },
  t5bias_forward: { warm_up: 1, runs: 3 },
  long_forward: { warm_up: 1, runs: 3 },
  generate_128: { warm_up: 1, runs: 1 },
}

export const NAMES = Object.keys(TURNS)
export const turns = (name) => TURNS[name]

/** What must be reached: our time as a share of that of 1.9.2, and of that of the newest version. */
export const GOALS = {
  gpt_forward: [0.35, 0.9],
  gpt_train_step: [0.45, 0.85],
  palm_train_step: [0.5, 0.75],
  char_train_step: [0.6, 0.8],
  tiny_train_step: [0.45, 0.45],
  encdec_train_step: [0.6, 0.8],
  vit_forward: [0.8, 0.8],
  t5bias_forward: [0.4, null],
  long_forward: [0.1, 0.85],
  generate_128: [0.11, 0.45],
  start: [0.05, 0.05],
}

/** The same for the peak memory of train steps. */
export const MEMORY_GOALS = [0.5, 0.7]

const ids = (x, count, ...shape) => x.randint(0, count, shape)

export function lm(x, options = {}, wrapper = {}) {
  const { num_tokens = 20_000, max_seq_len = 1025, ...layers } = options
  const attn_layers = new x.Decoder({ dim: 512, depth: 12, heads: 8, ...layers })
  return new x.TransformerWrapper({ num_tokens, max_seq_len, attn_layers, ...wrapper })
}

/** A step of AdamW with clipping on the loss that `loss` gives. */
export function trainer(x, model, ...inputs) {
  model.train()
  const optimizer = new x.AdamW(model.parameters(), { lr: 3e-4 })
  return async () => {
    const loss = await model.forward(...inputs)
    await loss.backward()
    await x.clipGradNorm(model.parameters(), 0.5)
    await optimizer.step()
    optimizer.zeroGrad()
    loss.dispose()
  }
}

function forward(x, model, ...inputs) {
  model.eval()
  return async () => {
    const output = await x.noGrad(() => model.forward(...inputs))
    output.dispose()
  }
}

export const language = (x, options) => new x.AutoregressiveWrapper(lm(x, options))

/** The model of char_train_step, which ../options measures too, and what a step takes. */
export const CHAR = { num_tokens: 256, max_seq_len: 257, dim: 256, depth: 6, rotary_pos_emb: true }
export const BATCH = 8
export const chars = (x, batch = BATCH) => ids(x, 256, batch, 257)

const MAKE = {
  gpt_forward: (x) => forward(x, lm(x), ids(x, 20_000, 1, 1024)),
  gpt_train_step: (x) => trainer(x, language(x), ids(x, 20_000, 1, 1025)),
  palm_train_step: (x) => {
    const options = {
      depth: 6,
      rotary_pos_emb: true,
      ff_glu: true,
      ff_swish: true,
      ff_no_bias: true,
    }
    const model = language(x, { ...options, attn_one_kv_head: true, use_rmsnorm: true })
    return trainer(x, model, ids(x, 20_000, 1, 1025))
  },
  char_train_step: (x) => trainer(x, language(x, CHAR), chars(x)),
  tiny_train_step: (x) => {
    const options = { num_tokens: 256, max_seq_len: 65, dim: 64, depth: 4, heads: 4 }
    return trainer(x, language(x, options), ids(x, 256, 4, 65))
  },
  encdec_train_step: (x) => {
    const side = (prefix) => ({
      [`${prefix}_num_tokens`]: 256,
      [`${prefix}_depth`]: 6,
      [`${prefix}_heads`]: 8,
      [`${prefix}_max_seq_len`]: 1024,
    })
    const model = new x.XTransformer({
      dim: 512,
      ...side('enc'),
      ...side('dec'),
      tie_token_emb: true,
    })
    const mask = x.ones([1, 1024], { dtype: 'bool' })
    return trainer(x, model, ids(x, 256, 1, 1024), ids(x, 256, 1, 1024), { mask })
  },
  vit_forward: (x) => {
    const attn_layers = new x.Encoder({ dim: 512, depth: 6, heads: 8 })
    const model = new x.ViTransformerWrapper({
      image_size: 256,
      patch_size: 32,
      num_classes: 1000,
      attn_layers,
    })
    return forward(x, model, x.randn([8, 3, 256, 256]))
  },
  t5bias_forward: (x) =>
    forward(x, lm(x, { depth: 6, rel_pos_bias: true }), ids(x, 20_000, 1, 1024)),
  long_forward: (x) => {
    const model = lm(x, { num_tokens: 256, max_seq_len: 4096, dim: 256, depth: 2 })
    return forward(x, model, ids(x, 256, 1, 4096))
  },
  generate_128: (x) => {
    const model = language(x).eval()
    const prompt = ids(x, 20_000, 1, 32)
    return async () => (await model.generate(prompt, 128)).dispose()
  },
  // a process's whole life: what it takes to a first result
  start: (x) => {
    const options = { num_tokens: 256, max_seq_len: 65, dim: 64, depth: 4, heads: 4 }
    return forward(x, lm(x, options), ids(x, 256, 1, 64))
  },
}

/** The workload `name` over the library `x`: a function that does the work once. */
export const make = (x, name) => MAKE[name](x)
