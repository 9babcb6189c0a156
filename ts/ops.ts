import { type Ids, isData, type Mask } from './arguments.js'
import { checkIterable, checkShape } from './checks.js'
import { XTransformersError } from './errors.js'
import type { TopAOptions, TopKOptions } from './options.gen.js'
import { resolveOptions } from './options.js'
import { apply, checkTensor, fromArgument, type Tensor } from './tensor.js'
import { axis, type CrossEntropyOptions } from './tensor-ops.js'

/** Checks a list of tensors with at least one in it. */
function checkTensors(tensors: Iterable<Tensor>, name: string): [first: Tensor, ...others: Tensor[]] {
  const list = checkIterable(tensors, `what ${name} takes`, 'tensors')
  const [first, ...others] = list.map((tensor, i) => checkTensor(tensor, `tensor ${i} of ${name}`))
  if (first === undefined) throw new XTransformersError('invalid_argument', `${name} needs at least one tensor`)
  return [first, ...others]
}

/**
 * Tensors one after another along an axis; the other axes have equal lengths.
 *
 * @example
 * cat([ones([2, 3]), zeros([2, 1])], 1).shape // [2, 4]
 */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  const list = checkTensors(tensors, 'cat')
  return apply('cat', list, { dim: axis(dim, list[0].shape.length) })
}

/**
 * Tensors of one shape along a new axis.
 *
 * @example
 * stack([ones([3]), zeros([3])]).shape // [2, 3]
 */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  const list = checkTensors(tensors, 'stack')
  checkShape([list.length, ...list[0].shape])
  return apply('stack', list, { dim: axis(dim, list[0].shape.length + 1) })
}

/** `a` where the condition is true, else `b`. */
export function where(condition: Mask, a: Tensor | number, b: Tensor | number): Tensor {
  if (isData(condition)) {
    using made = fromArgument(condition as object, 'mask', 'the condition')
    return made.where(a, b)
  }
  return checkTensor(condition, 'the condition').where(a, b)
}

/** Matrix product of the last two axes, (.., m, k) and (.., k, n). */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return checkTensor(a, 'the first operand').matmul(b)
}

/** Softmax along an axis. */
export function softmax(x: Tensor, dim = -1): Tensor {
  return checkTensor(x, 'the operand').softmax(dim)
}

/** Logarithm of the softmax along an axis. */
export function logSoftmax(x: Tensor, dim = -1): Tensor {
  return checkTensor(x, 'the operand').logSoftmax(dim)
}

/**
 * Mean cross entropy of logits, (.., classes), with target ids, (..).
 *
 * @example
 * const loss = crossEntropy(await model.forward(x), labels)
 */
export function crossEntropy(logits: Tensor, targets: Ids, options?: CrossEntropyOptions): Tensor {
  return checkTensor(logits, 'logits').crossEntropy(targets, options)
}

/** Mean of the squared differences. */
export function mse(prediction: Tensor, target: Tensor): Tensor {
  return checkTensor(prediction, 'the prediction').mse(target)
}

function filter(name: string, logits: Tensor, options: TopKOptions | TopAOptions): Tensor {
  return apply(name, [checkTensor(logits, 'logits')], { ...resolveOptions(name, options) })
}

/** Keeps the largest logits of each row, (rows, num_tokens): a share of `1 - thres`, rounded up; the others become -Infinity. */
export function top_k(logits: Tensor, options: TopKOptions = {}): Tensor {
  return filter('top_k', logits, options)
}

/**
 * Keeps the likeliest tokens of each row, (rows, num_tokens), up to a probability of `1 - thres`, the first one beyond it included;
 * the others become -Infinity. As in Python, 0.9 keeps a mass of about 0.1.
 */
export function top_p(logits: Tensor, options: TopKOptions = {}): Tensor {
  return filter('top_p', logits, options)
}

/**
 * Drops tokens with a probability below `min_p_ratio` times the largest one (of all rows) to the power of `min_p_pow`; as in Python the others
 * become equally likely.
 */
export function top_a(logits: Tensor, options: TopAOptions = {}): Tensor {
  return filter('top_a', logits, options)
}
