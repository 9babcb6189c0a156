/** Groups of parameters, as optimizers are given them. */
import { checkIterable, isRecord, readRecord, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { HANDLE } from '../symbols.js'
import { checkTensor, Tensor } from '../tensor/tensor.js'

/**
 * Parameters that share their settings; what is not set here comes from the optimizer's options.
 */
export type ParamGroup<Options> = Options & { params: Iterable<Tensor> }

/** A group whose parameters are a list of its own. */
type Group<Options> = Options & { readonly params: readonly Tensor[] }

/** The settings of a group, without its parameters. */
export function settingsOf(group: { params: unknown }, i: number): object {
  if (!isRecord(group)) throw refuse(`param_groups[${i}]`, 'an object { params, lr, ... }', group)
  const { params: _, ...settings } = readRecord(group)
  return settings
}

/** Groups of parameters, of those and of a list of parameters alone. */
export function grouped<Options>(
  parameters: Iterable<Tensor> | readonly ParamGroup<Options>[],
): Group<Options>[] {
  const list: unknown[] = checkIterable<unknown>(
    parameters,
    'parameters',
    'tensors, such as model.parameters(), or of groups { params, lr }',
  )
  if (list.length === 0) {
    throw new XTransformersError(
      'invalid_argument',
      'an optimizer needs parameters: model.parameters(), or groups [{ params, lr }]',
    )
  }
  if (list.every((item) => item instanceof Tensor)) return [{ params: list } as never]
  return list.map((item, i) => {
    if (!isRecord(item))
      throw refuse(`param_groups[${i}]`, 'an object { params, ... }, like every group', item)
    const group = readRecord(item)
    const params = checkIterable(
      group.params as Iterable<Tensor>,
      `param_groups[${i}].params`,
      'tensors',
    )
    return { ...group, params } as never
  })
}

/** An error where one is no parameter, or stands there twice. */
export function checkParameters(parameters: readonly Tensor[]): void {
  const seen = new Set<Tensor>()
  for (const [i, parameter] of parameters.entries()) {
    const handle = checkTensor(parameter, `parameter ${i}`)[HANDLE]
    // a frozen parameter may thaw
    if (!handle.live || !handle.use().isLeaf()) {
      throw new XTransformersError(
        'invalid_argument',
        `parameter ${i} must be a leaf that requires a gradient`,
      )
    }
    if (seen.has(parameter))
      throw new XTransformersError('invalid_argument', `parameter ${i} was given twice`)
    seen.add(parameter)
  }
}
