/**
 * Names of weights: those of a file on the left, those of the model on the right, with what lies
 * between them.
 *
 * In a name, `{n}` is the number of a block, `{2n}` twice that, `{2n+1}` one more; a name that ends
 * in `.*` stands for two rules, for `.weight` and `.bias`. A rule holds where the model has its
 * weights: so the rules of a family are those of all its settings.
 */
import { XTransformersError } from '../../errors.js'
import { type Shape, same, type Transform } from './transforms.js'

type Names = string | readonly string[]

/** Tensors of a file, weights of the model, and the change from one to the other. */
export type Rule = readonly [theirs: Names, ours: Names, how?: Transform]

/** A rule for one place of a model. */
export interface Step {
  theirs: readonly string[]
  ours: readonly string[]
  how: Transform
  /** Whether the tensors are the weights, as they are. */
  plain: boolean
  /** The shapes that the file must have. */
  shapes: readonly Shape[]
  /** Those of the model. */
  targets: readonly Shape[]
}

const listed = (names: Names): readonly string[] => (typeof names === 'string' ? [names] : names)

/** `{2n+1}` and the like, as they are for one block. */
const numbered = (name: string, n: number) =>
  name.replace(/\{(\d*)n(?:\+(\d+))?\}/g, (_, times: string, more: string | undefined) =>
    String((times === '' ? 1 : Number(times)) * n + Number(more ?? 0)),
  )

/** The rule, or both that one with `.*` stands for. */
function* unfolded([theirs, ours, how = same]: Rule) {
  const [left, right] = [listed(theirs), listed(ours)]
  const ends = right.some((name) => name.endsWith('*')) ? ['weight', 'bias'] : ['']
  for (const end of ends) {
    const ended = (name: string) => name.replace(/\*$/, end)
    yield { theirs: left.map(ended), ours: right.map(ended), how }
  }
}

/** All steps of rules for a model of `blocks` blocks, whose weights have these shapes. */
export function stepsOf(
  rules: readonly Rule[],
  blocks: number,
  weights: ReadonlyMap<string, Shape>,
): Step[] {
  const steps: Step[] = []
  for (const rule of rules) {
    for (const one of unfolded(rule)) {
      const times = one.ours.some((name) => /\{\d*n/.test(name)) ? blocks : 1
      for (let n = 0; n < times; n++) {
        const ours = one.ours.map((name) => numbered(name, n))
        const targets = ours.flatMap((name) => {
          const shape = weights.get(name)
          return shape ? [shape] : []
        })
        if (targets.length < ours.length) continue
        const theirs = one.theirs.map((name) => numbered(name, n))
        const { how } = one
        const plain = how === same
        steps.push({ theirs, ours, how, plain, targets, shapes: how.shapes(targets) })
      }
    }
  }
  requireAll(steps, weights)
  return steps
}

/** Every weight has one step: else the rules of the family are wrong. */
function requireAll(steps: readonly Step[], weights: ReadonlyMap<string, Shape>): void {
  const set = steps.flatMap(({ ours }) => ours)
  const known = new Set(set)
  const without = [...weights.keys()].find((name) => !known.has(name))
  if (without === undefined && known.size === set.length) return
  const what = without ?? set.find((name, i) => set.indexOf(name) !== i)
  const times = without === undefined ? 'two rules' : 'no rule'
  throw new XTransformersError('internal', `the weight ${what} has ${times} in its family`)
}
