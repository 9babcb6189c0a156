/** How the worker makes the objects that the page has numbers of. */
import { XTransformersError } from '../../errors.js'
import type { Source } from '../../io/sources.js'
import type { NativeModel } from '../../models/native-model.js'
import { patternOf } from '../../module/patterns.js'
import type { Tensor } from '../../tensor/tensor.js'
import { LoRA, type LoRALoadOptions } from '../../train/lora.js'
import type { CheckedLoRA } from '../../train/lora-options.js'
import * as optimizers from '../../train/optimizers.js'
import type { Id, Params, WireGroup, WireModel } from '../protocol.js'
import type { AnyOptimizer, Table } from './table.js'

/** Makes an object; where that fails, every later call on it fails in the same way. */
export function make<T>(table: Table, id: Id, construct: () => T): T {
  try {
    return construct()
  } catch (error) {
    table.addFailure(id, error)
    throw error
  }
}

export function classOf<C>(classes: object, name: string): C {
  if (Object.hasOwn(classes, name)) return (classes as Record<string, C>)[name] as C
  throw new XTransformersError(
    'internal',
    `the worker has no class ${name}: page and worker are of different versions`,
  )
}

/** The parameters of a group. */
function parametersOf(model: NativeModel, names: readonly string[] | null, what: string): Tensor[] {
  const named = model.namedParameters()
  if (names === null) return [...named.values()]
  return names.map((name) => {
    const parameter = named.get(name)
    if (parameter) return parameter
    throw new XTransformersError(
      'invalid_argument',
      `${what}: the model has no parameter "${name}"; describe() gives the names`,
    )
  })
}

type OptimizerClass = new (parameters: object[], options: object) => AnyOptimizer

export function makeOptimizer(
  { class: kind, groups, options }: Params<'optimizer'>,
  table: Table,
): AnyOptimizer {
  const Class = classOf<OptimizerClass>(optimizers, kind)
  const made = groups.map(({ model, params, settings }: WireGroup, i) => ({
    ...(settings as object),
    params: parametersOf(table.model(model), params, `param_groups[${i}]`),
  }))
  return new Class(made, options as object)
}

/** Adds a LoRA to a model: a new one, or that of a file. */
export async function makeLoRA(
  { object, model, options, source }: Params<'lora'>,
  table: Table,
): Promise<LoRA> {
  try {
    if (source !== undefined)
      return await LoRA.load(table.model(model), sourceOf(source), options as LoRALoadOptions)
    const { target_modules, ...rest } = options as CheckedLoRA
    const patterns = target_modules.map(patternOf)
    return new LoRA(table.model(model), { ...rest, target_modules: patterns })
  } catch (error) {
    table.addFailure(object, error)
    throw error
  }
}

/** Notes a loaded model and those within it. */
export function register(table: Table, id: Id, model: NativeModel): WireModel {
  const inner: Record<string, WireModel> = {}
  for (const [name, option] of Object.entries(model.options as object)) {
    if (typeof (option as { class?: unknown } | null)?.class !== 'string') continue
    // every class gives the models within by the options' names
    inner[name] = register(
      table,
      table.next(),
      (model as unknown as Record<string, NativeModel>)[name] as NativeModel,
    )
  }
  table.addModel(id, model, innerIds(inner))
  return { object: id, class: model.className, inner }
}

const innerIds = (inner: Record<string, WireModel>): Id[] =>
  Object.values(inner).flatMap((model) => [model.object, ...innerIds(model.inner)])

/** An address that was a URL object stays one: in Node a string is a path. */
export function sourceOf(source: unknown): Source {
  const { $url } = (source ?? {}) as { $url?: string }
  return $url === undefined ? (source as Source) : new URL($url)
}
