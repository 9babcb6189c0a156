// One program, which runs in a browser on the sources and in Node on the built package with its
// native addon: what it draws and computes must be the same. Numbers go through JSON, which keeps
// every digit.
import {
  AdamW,
  clipGradNorm,
  info,
  manualSeed,
  noGrad,
  rand,
  randint,
  randn,
  SGD,
} from 'x-transformers'
import { MASKS } from './masks.mjs'
import { LENGTH, MODELS, TOKENS } from './models.mjs'

const STEPS = 20

const values = (x) => Array.from(x.dataSync(), Number)

async function collected(entries) {
  const results = {}
  for (const [name, run] of entries) {
    manualSeed(42)
    results[name] = await run()
  }
  return results
}

const entriesOf = (models, run) => models.map((name) => [name, () => run(MODELS[name])])

/** Numbers of the tensor API; `bits` must be equal, `normals` nearly. */
function draws() {
  const [bits, normals] = [{}, {}]
  for (const seed of [0, 42, Number.MAX_SAFE_INTEGER]) {
    manualSeed(seed)
    for (const size of [1, 7, 4099]) {
      for (const dtype of ['f32', 'f64', 'f16', 'bf16'])
        bits[`rand ${dtype} ${size}, ${seed}`] = values(rand([size], { dtype }))
      for (const dtype of ['f32', 'f64'])
        normals[`randn ${dtype} ${size}, ${seed}`] = values(randn([size], { dtype }))
      bits[`randint ${size}, ${seed}`] = values(randint(-5, 1000, [size]))
      bits[`randint far ${size}, ${seed}`] = values(randint(0, 2 ** 40, [size]))
    }
  }
  return { bits, normals }
}

/** The initial values of a model. */
const weights = ({ make }) =>
  Object.fromEntries([...make().namedParameters()].map(([name, x]) => [name, values(x)]))

/** The losses of some steps, and the norms of the gradients. */
async function losses({ make, batch, loss }) {
  const model = make()
  return await trained(model, new AdamW(model.parameters(), { lr: 1e-3 }), batch, loss)
}

async function trained(model, optimizer, batch, loss) {
  const [found, norms] = [[], []]
  const parameters = model.parameters()
  for (let step = 0; step < STEPS; step++) {
    const value = await loss(model, batch())
    await value.backward()
    norms.push(await clipGradNorm(parameters, 1))
    await optimizer.step()
    optimizer.zeroGrad()
    found.push(value.item())
  }
  return { losses: found, norms }
}

async function withMomentum() {
  const { make, batch, loss } = MODELS['a decoder with dropout everywhere']
  const model = make()
  return await trained(model, new SGD(model.parameters(), { lr: 0.05, momentum: 0.9 }), batch, loss)
}

/** Calls that start before others have ended, in whatever order they compute. */
async function together() {
  const { make, batch, loss } = MODELS['a decoder with dropout everywhere']
  const model = make()
  const [x] = batch()
  const pending = [noGrad(() => loss(model, [x])), noGrad(() => loss(model, [x]))]
  rand([3])
  pending.push(noGrad(() => loss(model, [x])))
  return { losses: (await Promise.all(pending)).map((y) => y.item()), norms: [] }
}

/** A model after some steps, so that it has opinions. */
async function experienced({ make, batch, loss }) {
  const model = make()
  await trained(model, new AdamW(model.parameters(), { lr: 1e-3 }), batch, loss)
  return model
}

const GREEDY = { temperature: 0 }
const SAMPLINGS = {
  'the whole distribution': { temperature: 1.3, filter_thres: 0 },
  top_k: { filter_logits_fn: 'top_k', filter_thres: 0.8, temperature: 0.9 },
  top_p: { filter_logits_fn: 'top_p', filter_thres: 0.8 },
  top_a: { filter_logits_fn: 'top_a', min_p_pow: 1.5, min_p_ratio: 0.1 },
  'a filter of one’s own': { filter_logits_fn: (logits) => logits.mul(2), temperature: 1.5 },
}

const prompt = () => randint(0, TOKENS, [3, 5])

async function generated(model, options) {
  return values(await model.generate(prompt(), 2 * LENGTH, options))
}

async function streamed(model) {
  const rows = []
  for await (const row of model.stream(prompt(), LENGTH, { temperature: 0.8 })) rows.push(row)
  return rows.flat()
}

/** The new tokens of many kinds of generation. */
async function tokens() {
  const found = {}
  for (const [name, kind] of Object.entries(MODELS).filter(([name]) =>
    name.startsWith('a decoder'),
  )) {
    found[`greedy, ${name}, fresh`] = await generated(kind.make(), GREEDY)
    found[`greedy, ${name}`] = await generated(await experienced(kind), GREEDY)
  }
  const model = await experienced(MODELS['a decoder with relative positions and deepnorm'])
  for (const [name, options] of Object.entries(SAMPLINGS))
    found[`sampled, ${name}`] = await generated(model, options)
  found.streamed = await streamed(model)
  const pair = await experienced(MODELS['an encoder and a decoder'])
  for (const [name, options] of [
    ['greedy', GREEDY],
    ['sampled', {}],
  ]) {
    const y = await pair.generate(prompt(), randint(0, TOKENS, [3, 1]), LENGTH - 1, options)
    found[`${name}, an encoder and a decoder`] = values(y)
  }
  const masked = await experienced(MODELS['a model of masked tokens'])
  found['a model of masked tokens'] = values(await masked.generate({ batch_size: 3 }))
  return found
}

/** New vectors. */
async function vectors() {
  const model = await experienced(MODELS['a model of vectors'])
  return values(await model.generate(randn([2, 3, 5]), 10))
}

/** Everything, by kind. */
export async function program() {
  const names = Object.keys(MODELS)
  return {
    target: info().target,
    draws: draws(),
    weights: await collected(entriesOf(names, weights)),
    masks: await collected(Object.entries(MASKS)),
    losses: await collected([
      ...entriesOf(names, losses),
      ['momentum', withMomentum],
      ['calls at the same time', together],
    ]),
    ...(await collected([
      ['tokens', tokens],
      ['vectors', vectors],
    ])),
  }
}
