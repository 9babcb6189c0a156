/** The order of examples, cut into batches, epoch after epoch. */
import { isThenable } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { Promises } from '../promises.js'
import { checkIndex } from './checks.js'
import type { Dataset, Turn } from './dataset.js'
import { draws, permutation } from './random.js'
import { examplesOf, type Stream } from './stream.js'

/** How examples are ordered and cut, as far as it is checked. */
export interface Plan {
  batch_size: number
  drop_last: boolean
  seed: number
  /** How many epochs one iteration of the loader has. */
  epochs: number
}

/** A place in the order: so many examples of an epoch come before it. */
export interface Place {
  epoch: number
  position: number
}

/** The examples of one batch, or the end of an epoch (null), and the place behind it. */
export interface Part<Example> {
  examples: (() => readonly Example[] | Promise<readonly Example[]>) | null
  next: Place
}

/** The batches from a place to the end of the iteration, in order. */
export type Parts<Example> = AsyncGenerator<Part<Example>, void, undefined>

/** What examples come from: the batches from a place on. */
export type Origin<Example> = (plan: Plan, from: Place) => Parts<Example>

/** Where the examples of an epoch are found, from a position on. */
export type Order = (plan: Plan, from: Place) => Iterable<number>

/** So many examples of a batch are asked for at once: each may open a file. */
const AT_ONCE = 32

/** The batches of one epoch from a place on. */
type EpochParts<Example> = (plan: Plan, from: Place) => Parts<Example>

async function* epochAfterEpoch<Example>(
  epochParts: EpochParts<Example>,
  plan: Plan,
  from: Place,
): Parts<Example> {
  let { epoch, position } = from
  for (;;) {
    let some = position > 0
    for await (const part of epochParts(plan, { epoch, position })) {
      some = true
      yield part
    }
    if (!some) throw noBatch(plan, epoch)
    position = 0
    epoch++
    yield { examples: null, next: { epoch, position } }
    if (epoch % plan.epochs === 0) return
  }
}

function noBatch({ batch_size, drop_last }: Plan, epoch: number): XTransformersError {
  const few = drop_last ? `fewer than ${batch_size} examples, and drop_last is set` : 'no examples'
  return new XTransformersError(
    'invalid_argument',
    `epoch ${epoch} has no batch: there are ${few}. A stream or a sampler begins again in each epoch`,
  )
}

/** Batches of a dataset, in an order of its indices. */
export function ofDataset<Example>(dataset: Dataset<Example>, order: Order): Origin<Example> {
  async function* epochParts(plan: Plan, from: Place): Parts<Example> {
    const { length } = dataset
    const turn = { epoch: from.epoch, seed: plan.seed }
    const batches = chunks(order(plan, from), plan)
    // whether a batch is the last one is known once the next one has been looked for
    let { position } = from
    for (let step = batches.next(); !step.done; ) {
      const indices = step.value
      step = batches.next()
      position += indices.length
      const next = step.done ? { epoch: from.epoch + 1, position: 0 } : { ...from, position }
      for (const index of indices) checkIndex(index, 'an index of the sampler', length)
      yield { examples: () => gathered(dataset, indices, turn), next }
    }
  }
  return (plan, from) => epochAfterEpoch(epochParts, plan, from)
}

function* chunks(
  indices: Iterable<number>,
  { batch_size, drop_last }: Plan,
): Generator<number[], void, undefined> {
  let chunk: number[] = []
  for (const index of indices) {
    chunk.push(index)
    if (chunk.length < batch_size) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0 && !drop_last) yield chunk
}

/** Gets examples: at once where the dataset has them, else several at a time. */
function gathered<Example>(
  dataset: Dataset<Example>,
  indices: readonly number[],
  turn: Turn,
): readonly Example[] | Promise<readonly Example[]> {
  const examples = new Array<Example>(indices.length)
  for (let i = 0; i < indices.length; i++) {
    const example = dataset.get(indices[i] as number, turn)
    if (isThenable(example)) {
      const rest = (index: number) => dataset.get(index, turn)
      return gatheredLater(rest, indices, examples, i, example)
    }
    examples[i] = example
  }
  return examples
}

/** Gets the examples from `first` on, which is pending already. */
async function gatheredLater<Example>(
  get: (index: number) => Example | Promise<Example>,
  indices: readonly number[],
  examples: Example[],
  first: number,
  pending: PromiseLike<Example>,
): Promise<readonly Example[]> {
  const { length } = indices
  let at = first
  const run = async () => {
    try {
      while (at < length) {
        const i = at++
        examples[i] = await (i === first ? pending : get(indices[i] as number))
      }
    } catch (error) {
      at = length
      throw error
    }
  }
  await Promises.all(Array.from({ length: Math.min(AT_ONCE, length - first) }, run))
  return examples
}

/** The orders of a dataset's indices, by the option `shuffle`. */
export function orderOf(length: number, shuffle: boolean | 'with_replacement'): Order {
  return function* indices({ seed }, { epoch, position }) {
    if (shuffle === 'with_replacement') {
      const draw = draws('draw', seed, epoch)
      for (let i = position; i < length; i++) yield draw(i, length)
    } else {
      const at = shuffle ? permutation(length, seed, epoch) : (i: number) => i
      for (let i = position; i < length; i++) yield at(i)
    }
  }
}

/** The order of a sampler: an iterable, or a function that gives one for each epoch. */
export function orderBy(sampler: Iterable<number> | ((epoch: number) => Iterable<number>)): Order {
  return function* indices(_, { epoch, position }) {
    let i = 0
    for (const index of typeof sampler === 'function' ? sampler(epoch) : sampler)
      if (i++ >= position) yield index
  }
}

/**
 * Batches of a stream. With a buffer each example is drawn from so many that have come; going on
 * from a place means to pass over those before it.
 */
export function ofStream<Example>(stream: Stream<Example>, buffer: number): Origin<Example> {
  async function* epochParts(plan: Plan, from: Place): Parts<Example> {
    let examples: Example[] = []
    let position = 0
    const part = (): Part<Example> => {
      const own = examples
      examples = []
      return { examples: () => own, next: { ...from, position } }
    }
    for await (const example of shuffled(stream, buffer, plan.seed, from.epoch)) {
      position++
      if (position > from.position && examples.push(example) === plan.batch_size) yield part()
    }
    if (examples.length > 0 && !plan.drop_last) yield part()
  }
  return (plan, from) => epochAfterEpoch(epochParts, plan, from)
}

async function* shuffled<Example>(
  stream: Stream<Example>,
  size: number,
  seed: number,
  epoch: number,
): AsyncGenerator<Example, void, undefined> {
  const examples = examplesOf(stream, 'the stream')
  if (size < 2) return yield* examples
  const draw = draws('buffer', seed, epoch)
  const buffer: Example[] = []
  let count = 0
  for await (const example of examples) {
    if (buffer.length < size) {
      buffer.push(example)
      continue
    }
    const i = draw(count++, size)
    const drawn = buffer[i] as Example
    buffer[i] = example
    yield drawn
  }
  while (buffer.length > 0) {
    const i = draw(count++, buffer.length)
    const drawn = buffer[i] as Example
    buffer[i] = buffer.at(-1) as Example
    buffer.pop()
    yield drawn
  }
}
