/** Tensors of files that are no weights of the model. */
import { XTransformersError } from '../../errors.js'
import type { Tensor } from '../../tensor/tensor.js'
import type { Family } from '../families/family.js'
import type { WeightFiles } from './files.js'
import type { Naming } from './naming.js'

const damaged = (message: string) => new XTransformersError('invalid_checkpoint', message)

/** Whether two tensors have the same values. */
export const equal = (a: Tensor, b: Tensor): boolean =>
  String(a.shape) === String(b.shape) && a.eq(b).all().item() === true

/** Checks a tensor of the files that is to be a copy of another one. */
async function requireCopy(name: string, original: string, files: WeightFiles): Promise<void> {
  if (equal(await files.look(name), await files.look(original))) return
  throw damaged(
    `tensor ${name} is to be a copy of ${original}, and has other values: a model in which they differ is not covered`,
  )
}

/**
 * Checks what is left of the files beside the tensors of steps: buffers, copies, what transformers
 * passes over too.
 *
 * @param used the names of the tensors that steps need, in the files
 * @throws XTransformersError (`invalid_checkpoint`) for everything else
 */
export async function checkLeftover(
  { buffers = [], unused = [], copies = {} }: Family,
  used: ReadonlySet<string>,
  files: WeightFiles,
  naming: Naming,
): Promise<void> {
  const idle = [...buffers, ...unused]
  const copied = new Map(
    Object.entries(copies).map(([copy, of]) => [naming.inFile(copy), naming.inFile(of)]),
  )
  const unknown: string[] = []
  for (const name of files.names) {
    if (used.has(name) || idle.some((pattern) => pattern.test(name))) continue
    const original = copied.get(name)
    if (original === undefined) unknown.push(name)
    else await requireCopy(name, original, files)
  }
  if (unknown.length === 0) return
  const more = unknown.length > 1 ? `, and ${unknown.length - 1} more` : ''
  throw damaged(
    `the files have the tensor ${unknown[0]}${more}, which the model that config.json describes does not have`,
  )
}
