import { describeValue, isThenable } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { isIterable } from './checks.js'

/**
 * Examples that come one after the other: a function that begins again each time that it is called,
 * such as an async generator function. The loader calls it once for each epoch.
 */
export type Stream<Example> = () =>
  | Iterable<Example>
  | AsyncIterable<Example>
  | Promise<Iterable<Example> | AsyncIterable<Example>>

/** What can be walked over once at least: a stream, or what a stream gives. */
export type StreamLike<Example> = Stream<Example> | Iterable<Example> | AsyncIterable<Example>

/** Checks something that is to be walked over. */
export function checkStream<Example>(value: StreamLike<Example>, what: string): void {
  if (typeof value === 'function' || isIterable(value)) return
  throw new XTransformersError(
    'invalid_argument',
    `${what} must be an array, an iterable, or a function that gives one, got ${describeValue(value)}`,
  )
}

/** Begins a stream. */
export async function begin<Example>(
  stream: StreamLike<Example>,
  what: string,
): Promise<Iterable<Example> | AsyncIterable<Example>> {
  if (typeof stream !== 'function') return stream
  const given = stream()
  const iterable = isThenable(given) ? await given : given
  if (isIterable(iterable)) return iterable as Iterable<Example> | AsyncIterable<Example>
  throw new XTransformersError(
    'invalid_argument',
    `what ${what} gives must be an iterable or an async iterable, got ${describeValue(iterable)}`,
  )
}

/** The examples of a stream. */
export async function* examplesOf<Example>(
  stream: StreamLike<Example>,
  what: string,
): AsyncGenerator<Example, void, undefined> {
  yield* await begin(stream, what)
}
