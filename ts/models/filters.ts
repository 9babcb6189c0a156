/** Filters of logits by name, for sampling. */
import { apply, checkTensor, type Tensor } from '../tensor/tensor.js'
import type { TopAOptions, TopKOptions } from './options.gen.js'
import { resolveOptions } from './options.js'

function filter(name: string, logits: Tensor, options: TopKOptions | TopAOptions): Tensor {
  return apply(name, [checkTensor(logits, 'logits')], { ...resolveOptions(name, options) })
}

/**
 * Keeps the largest logits of each row, (rows, num_tokens): a share of `1 - thres`, rounded up; the
 * others become -Infinity.
 */
export function top_k(logits: Tensor, options: TopKOptions = {}): Tensor {
  return filter('top_k', logits, options)
}

/**
 * Keeps the likeliest tokens of each row, (rows, num_tokens), up to a probability of `1 - thres`,
 * the first one beyond it included; the others become -Infinity. As in Python, 0.9 keeps a mass of
 * about 0.1.
 */
export function top_p(logits: Tensor, options: TopKOptions = {}): Tensor {
  return filter('top_p', logits, options)
}

/**
 * Drops tokens with a probability below `min_p_ratio` times the largest one (of all rows) to the
 * power of `min_p_pow`; as in Python the others become equally likely.
 */
export function top_a(logits: Tensor, options: TopAOptions = {}): Tensor {
  return filter('top_a', logits, options)
}
