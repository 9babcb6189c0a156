// The same models by hand in TensorFlow.js, on its wasm backend: SIMD, one thread.
import { getThreadsCount, setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-core/dist/register_all_gradients.js'
import {
  DIM_HEAD,
  inputs,
  inverseFrequencies,
  ROTARY_DIM,
  TRAINING,
  targets,
  weights,
} from './models.js'

const WASM = '/node_modules/@tensorflow/tfjs-backend-wasm/dist/'

async function start() {
  setWasmPaths(WASM)
  setThreadsCount(1)
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  if (!(await tf.setBackend('wasm'))) throw new Error('TensorFlow.js has no wasm backend here')
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')))
    throw new Error('TensorFlow.js found no SIMD here')
}

/** Matrix products as TensorFlow.js has them. */
const plain = {
  /** x (rows, in) times w (in, out). */
  linear: (x, w) => tf.matMul(x, w),
  /** a (batch, heads, i, d) times the transpose of b (batch, heads, j, d). */
  scores: (a, b) => tf.matMul(a, b, false, true),
  /** a (batch, heads, i, j) times b (batch, heads, j, d). */
  mix: (a, b) => tf.matMul(a, b),
}

/** With the last two axes swapped. */
const swap = (x) => (x.rank === 2 ? tf.transpose(x) : tf.transpose(x, [0, 1, 3, 2]))

/**
 * The product of matrices, one by one: only so does the backend use XNNPACK. Batch by batch, for each slice copies all that it is
 * taken from; and what is between is freed at once, for the backend's memory ends at 2 GB.
 */
function each(a, b) {
  if (a.rank === 2) return tf.matMul(a, b)
  return tf.tidy(() => {
    const right = tf.unstack(b)
    return tf.stack(
      tf.unstack(a).map((batch, i) =>
        tf.tidy(() => {
          const heads = tf.unstack(right[i])
          return tf.stack(tf.unstack(batch).map((head, h) => tf.matMul(head, heads[h])))
        }),
      ),
    )
  })
}

const product = tf.customGrad((a, b, save) => {
  save([a, b])
  return { value: each(a, b), gradFunc: (dy, [a, b]) => [each(dy, swap(b)), each(swap(a), dy)] }
})

/**
 * Matrix products for whoever knows the backend's source: its loops for products of many matrices, or of transposed ones (as all
 * gradients are), are plain and slow, and one product of two matrices as they lie is fast.
 */
const tuned = { linear: product, scores: (a, b) => product(a, swap(b)), mix: product }

/** The weights as variables under their names; a TensorFlow.js user holds matrices as (in, out). */
function variables(spec) {
  const vars = {}
  for (const [name, { shape, data }] of weights(spec)) {
    if (name.endsWith('inv_freq')) continue
    vars[name] = tf.tidy(() => {
      const value = tf.tensor(data, shape)
      return tf.variable(
        value.rank === 2 && !name.includes('emb') ? tf.transpose(value) : value,
        true,
        name,
      )
    })
  }
  return vars
}

/** What does not change from call to call: the causal mask, and the angles of rotary positions. */
function constants({ length, rotary }) {
  const mask = Float32Array.from({ length: length * length }, (_, at) =>
    at % length > Math.floor(at / length) ? -1e9 : 0,
  )
  const frequencies = inverseFrequencies()
  const angles = Float32Array.from(
    { length: length * frequencies.length },
    (_, at) => Math.floor(at / frequencies.length) * frequencies[at % frequencies.length],
  )
  const table = (f) => tf.tensor(angles.map(f), [length, frequencies.length])
  return {
    mask: tf.tensor(mask, [length, length]),
    ...(rotary && { cos: table(Math.cos), sin: table(Math.sin) }),
  }
}

/** The model: ids (batch, length) to logits (batch * length, num_tokens). */
function network(spec, vars, products) {
  const { batch, length, dim, depth, heads } = spec
  const { mask, cos, sin } = constants(spec)

  // The backend lacks the gradient of gather (UnsortedSegmentSum). ScatterNd adds up rows of the same id, too.
  const embed = (table, ids) =>
    tf.customGrad((weight) => ({
      value: tf.gather(weight, ids),
      gradFunc: (dy) => tf.scatterND(tf.expandDims(ids, 1), dy, weight.shape),
    }))(table)

  const norm = (x, name) => {
    const centred = tf.sub(x, tf.mean(x, -1, true))
    const variance = tf.mean(tf.square(centred), -1, true)
    const normed = tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5)))
    return tf.add(tf.mul(normed, vars[`${name}.weight`]), vars[`${name}.bias`])
  }

  const gelu = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1))

  // x (..., length, 64): the first half of the turned features against the second.
  const turn = (x) => {
    const half = ROTARY_DIM / 2
    const [a, b, rest] = tf.split(x, [half, half, DIM_HEAD - ROTARY_DIM], -1)
    const first = tf.sub(tf.mul(a, cos), tf.mul(b, sin))
    const second = tf.add(tf.mul(b, cos), tf.mul(a, sin))
    return tf.concat([first, second, rest], -1)
  }

  const attention = (x, name) => {
    // Tensors of more than four axes leave the backend's fast paths, so q, k and v are not one projection.
    const [q, k, v] = ['to_q', 'to_k', 'to_v'].map((to) => {
      const projected = products.linear(x, vars[`${name}.${to}.weight`])
      const split = tf.transpose(
        tf.reshape(projected, [batch, length, heads, DIM_HEAD]),
        [0, 2, 1, 3],
      )
      return cos ? turn(split) : split // (batch, heads, length, 64); the Python package turns values, too
    })
    const scores = products.scores(tf.mul(q, DIM_HEAD ** -0.5), k) // (batch, heads, i, j)
    const out = products.mix(tf.softmax(tf.add(scores, mask)), v)
    const merged = tf.reshape(tf.transpose(out, [0, 2, 1, 3]), [batch * length, heads * DIM_HEAD])
    return products.linear(merged, vars[`${name}.to_out.weight`])
  }

  const feedForward = (x, name) => {
    const affine = (y, layer) =>
      tf.add(products.linear(y, vars[`${name}.${layer}.weight`]), vars[`${name}.${layer}.bias`])
    return affine(gelu(affine(x, 'ff.0.0')), 'ff.3')
  }

  return (ids) => {
    let x = embed(vars['token_emb.emb.weight'], ids) // (batch * length, dim)
    const positions = vars['pos_emb.emb.weight']
    if (positions) {
      const added = tf.mul(tf.slice(positions, [0, 0], [length, dim]), dim ** -0.5)
      x = tf.reshape(tf.add(tf.reshape(x, [batch, length, dim]), added), [batch * length, dim])
    }
    for (let layer = 0; layer < depth; layer++) {
      const names = [2 * layer, 2 * layer + 1].map((i) => `attn_layers.layers.${i}`)
      x = tf.add(x, attention(norm(x, `${names[0]}.0.0`), `${names[0]}.1`))
      x = tf.add(x, feedForward(norm(x, `${names[1]}.0.0`), `${names[1]}.1`))
    }
    const out = products.linear(norm(x, 'norm'), vars['to_logits.weight'])
    return tf.add(out, vars['to_logits.bias'])
  }
}

/** Clips the gradients to a norm and takes a step of AdamW. */
function updater(vars) {
  const { lr, betas, eps, weight_decay, max_norm } = TRAINING
  const adam = tf.train.adam(lr, ...betas, eps)
  return (grads) =>
    tf.tidy(() => {
      const norm = tf.sqrt(tf.addN(Object.values(grads).map((grad) => tf.sum(tf.square(grad)))))
      const factor = tf.minimum(tf.div(max_norm, tf.add(norm, 1e-6)), 1)
      const clipped = Object.entries(grads).map(([name, grad]) => [name, tf.mul(grad, factor)])
      // What makes AdamW of Adam.
      for (const variable of Object.values(vars))
        variable.assign(tf.mul(variable, 1 - lr * weight_decay))
      adam.applyGradients(Object.fromEntries(clipped))
    })
}

/** Throws unless each variable has a gradient of its shape, all finite and not all zero. */
function checkGradients(vars, grads) {
  for (const [name, { shape }] of Object.entries(vars)) {
    const grad = grads[name]
    if (!grad || String(grad.shape) !== String(shape))
      throw new Error(`TensorFlow.js gave no gradient of ${name}`)
    const values = grad.dataSync()
    if (!values.every(Number.isFinite) || !values.some(Boolean))
      throw new Error(`TensorFlow.js: gradient of ${name} is wrong`)
  }
}

/** Loads the model and gives its work, with plain or tuned matrix products. */
export async function create(spec, variant) {
  await start()
  const vars = variables(spec)
  const run = network(spec, vars, variant === 'tuned' ? tuned : plain)
  const update = updater(vars)
  const input = tf.tensor(inputs(spec), undefined, 'int32')
  const target = tf.tensor(targets(spec), undefined, 'int32')
  const loss = () => tf.losses.softmaxCrossEntropy(tf.oneHot(target, spec.num_tokens), run(input))
  let checked = false
  return {
    info: () => ({
      target: `TensorFlow.js ${tf.version_core}, ${tf.getBackend()}`,
      threads: getThreadsCount(),
    }),
    async logits() {
      const logits = tf.tidy(() => run(input))
      const values = await logits.data()
      logits.dispose()
      return values
    },
    async forward() {
      tf.tidy(() => run(input)).dispose()
    },
    async trainStep() {
      const { value, grads } = tf.variableGrads(loss, Object.values(vars))
      if (!checked) checkGradients(vars, grads)
      checked = true
      update(grads)
      const [number] = await value.data()
      tf.dispose([value, grads])
      return number
    },
  }
}
