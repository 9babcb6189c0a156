import { checkIterable } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Ids, Mask } from './arguments.js'
import { isData } from './arrays.js'
import { getDefaultDevice } from './default-device.js'
import { checkShape } from './dtype.js'
import { axis } from './op-base.js'
import type { CrossEntropyOptions } from './operations.js'
import { apply, checkTensor, fromArgument, Tensor } from './tensor.js'

/** Checks a list of tensors with at least one in it. */
function checkTensors(
  tensors: Iterable<Tensor>,
  name: string,
): [first: Tensor, ...others: Tensor[]] {
  const list = checkIterable(tensors, `what ${name} takes`, 'tensors')
  const [first, ...others] = list.map((tensor, i) => checkTensor(tensor, `tensor ${i} of ${name}`))
  if (first === undefined)
    throw new XTransformersError('invalid_argument', `${name} needs at least one tensor`)
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
    const device = [a, b].find((value) => value instanceof Tensor)?.device ?? getDefaultDevice()
    using made = fromArgument(condition as object, 'mask', 'the condition', device)
    return made.where(a, b)
  }
  return checkTensor(condition, 'the condition').where(a, b)
}

/** Matrix product of the last two axes, (.., m, k) and (.., k, n); also of vectors. */
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
