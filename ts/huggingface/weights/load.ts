/** Puts the tensors of files into a model: one after the other, each freed once it is there. */
import { XTransformersError } from '../../errors.js'
import type { Module } from '../../module/module.js'
import { ASSIGN, ENTRIES } from '../../module/submodule.js'
import { noGrad } from '../../tensor/grad-mode.js'
import { tidy } from '../../tensor/memory.js'
import type { Tensor } from '../../tensor/tensor.js'
import type { WeightFiles } from './files.js'
import type { Naming } from './naming.js'
import type { Step } from './rules.js'
import type { Shape } from './transforms.js'

/** The weights that rules are for: each once, without buffers. */
export function weightsOf(module: Module): Map<string, Shape> {
  const shapes = new Map<string, Shape>()
  for (const { name, shape, kind, tied } of module[ENTRIES]())
    if (kind === 'parameter' && tied === null) shapes.set(name, shape)
  return shapes
}

/** Where the weights are that rules are for. */
export interface Place {
  module: Module
  steps: readonly Step[]
}

const damaged = (message: string) => new XTransformersError('invalid_checkpoint', message)

/** Checks that the files have all tensors of the steps. */
export function requireTensors(files: WeightFiles, naming: Naming, steps: readonly Step[]): void {
  const missing = steps.flatMap(({ theirs }) => theirs).filter((name) => !naming.has(name))
  if (missing.length === 0) return
  const more = missing.length > 1 ? `, and ${missing.length - 1} more` : ''
  throw damaged(
    `the weights do not fit config.json: tensor ${missing[0]} is missing${more} (${[...files.names].length} are there)`,
  )
}

function checkShape(name: string, tensor: Tensor, wanted: Shape): void {
  if (String(tensor.shape) === String(wanted)) return
  throw damaged(
    `the weights do not fit config.json: tensor ${name} has shape [${tensor.shape}], and needs [${wanted}]`,
  )
}

/** Copies, since views would keep all of the memory that they are a part of. */
const changed = (step: Step, tensors: readonly Tensor[]) =>
  noGrad(() => tidy(() => step.how.load(tensors, step.targets).map((x) => x.clone())))

/** Reads what a step needs, and assigns what comes of it. */
async function follow(
  step: Step,
  module: Module,
  files: WeightFiles,
  naming: Naming,
): Promise<void> {
  const tensors: Tensor[] = []
  let own: readonly Tensor[] = tensors
  try {
    for (const [i, name] of step.theirs.entries()) {
      const tensor = await files.take(naming.inFile(name))
      tensors.push(tensor)
      checkShape(naming.inFile(name), tensor, step.shapes[i] as Shape)
    }
    if (!step.plain) own = changed(step, tensors)
    module[ASSIGN](new Map(step.ours.map((name, i) => [name, own[i] as Tensor])))
  } finally {
    for (const tensor of new Set([...tensors, ...own])) tensor.dispose()
  }
}

/** Fills all places. */
export async function loadAll(
  places: readonly Place[],
  files: WeightFiles,
  naming: Naming,
): Promise<void> {
  for (const { module, steps } of places) {
    for (const step of steps) await follow(step, module, files, naming)
  }
}
