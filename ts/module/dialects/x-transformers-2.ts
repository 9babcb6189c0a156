/** Weights of x-transformers 2, with the names and values that a model of this package has. */
import { isRecord } from '../../checks.js'
import { XTransformersError } from '../../errors.js'
import { tidy } from '../../tensor/memory.js'
import type { Tensor } from '../../tensor/tensor.js'
import type { Entry, StateDict } from '../entries.js'
import { findPrefix } from '../prefix.js'
import { type Offsets, Place } from './place.js'
import { LAYERS, type Rule, WRAPPER } from './rules.js'

type Options = Readonly<Record<string, unknown>>

/** A model, as its metadata describe it. */
interface Described {
  class: string
  options: Options
}

/** Rules for the weights of a place. */
interface Ruled {
  place: Place
  rules: readonly Rule[]
}

/** Weights by the names of the model, and what has no place in it. */
export interface Translated {
  state: ReadonlyMap<string, Tensor>
  /** Names in the file. */
  unexpected: string[]
  /** What was taken off the beginning of every name. */
  prefix: string
}

const STACKS = ['Encoder', 'Decoder', 'CrossAttender', 'TransformerBlock']

/** 2.x has one level more for each module around a block. */
const plainName = (name: string) => name.replace(/(layers\.\d+\.1\.)(?:fn\.)+/, '$1')

const isDescribed = (value: unknown): value is Described =>
  isRecord(value) && typeof value.class === 'string' && isRecord(value.options)

/** The options that begin with `prefix`, without it. */
const optionsBelow = (options: Options, prefix: string): Options =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  )

/** The prefixes of stacks of layers in a model, with the options of each. */
function stacksIn({ class: name, options }: Described, prefix = ''): [string, Options][] {
  if (STACKS.includes(name)) return [[prefix, options]]
  if (name === 'XTransformer') {
    const { dim } = options
    const stack = (half: string): Options => ({ ...optionsBelow(options, half), dim })
    return [
      [`${prefix}encoder.attn_layers.`, stack('enc_')],
      [`${prefix}decoder.net.attn_layers.`, stack('dec_')],
    ]
  }
  return Object.entries(options).flatMap(([key, value]) =>
    isDescribed(value) ? stacksIn(value, `${prefix}${key}.`) : [],
  )
}

/** What holds for each prefix of the names, the longest first. */
function ruledPlaces(model: Described, entries: readonly Entry[], file: Offsets): Ruled[] {
  const all = stacksIn(model).flatMap(([prefix, options]): Ruled[] => {
    const shapes = new Map(
      entries
        .filter(({ name }) => name.startsWith(prefix))
        .map(({ name, shape }) => [plainName(name.slice(prefix.length)), shape]),
    )
    const place = (of: string) => new Place(of, options, file, shapes)
    const layers = { place: place(prefix), rules: LAYERS }
    const wrapper = /^(.*)attn_layers\.$/.exec(prefix)?.[1]
    return wrapper === undefined ? [layers] : [layers, { place: place(wrapper), rules: WRAPPER }]
  })
  for (const { place } of all) place.checkOrder()
  return all.sort((a, b) => b.place.prefix.length - a.place.prefix.length)
}

/** The model's class and options. */
function describedIn(metadata: Readonly<Record<string, string>>): Described {
  const text = metadata['x-transformers']
  const described: unknown = text === undefined ? null : JSON.parse(text)
  if (isDescribed(described)) return described
  throw new XTransformersError(
    'invalid_argument',
    "the dialect 'x-transformers-2' is for models of this package: load the parts of a model of your own one by one",
  )
}

/** The tensors of a file by names without prefix and levels `fn`. */
class File {
  readonly #names: ReadonlyMap<string, string>
  readonly #taken = new Set<string>()

  constructor(
    private readonly tensors: StateDict,
    prefix: string,
  ) {
    const names = [...tensors.keys()].filter((name) => name.startsWith(prefix))
    this.#names = new Map(names.map((name) => [plainName(name.slice(prefix.length)), name]))
  }

  /** The first of these tensors that is there and that no other weight has taken. */
  take(names: readonly string[]): Tensor | undefined {
    const found = names
      .map((name) => this.#names.get(name))
      .find((name) => name !== undefined && !this.#taken.has(name))
    if (found === undefined) return undefined
    this.#taken.add(found)
    return this.tensors.get(found)
  }

  /** The names of the tensors that no weight has taken. */
  get left(): string[] {
    return [...this.tensors.keys()].filter((name) => !this.#taken.has(name))
  }
}

/** A weight of the model, and where it comes from. */
interface Step {
  name: string
  /** The names in the file that it may have, without levels `fn`. */
  theirs: string[]
  /** The weight, for the tensor of the file if it is there. */
  make(found: Tensor | undefined): Tensor | undefined
}

function stepFor({ name, shape }: Entry, ruled: readonly Ruled[]): Step {
  const plain = plainName(name)
  const at = ruled.find(({ place }) => plain.startsWith(place.prefix))
  const own = plain.slice(at?.place.prefix.length)
  const rule = at?.rules.find(({ ours }) => ours.test(own))
  if (!at || !rule) return { name, theirs: [plain], make: (found) => found }
  const { place } = at
  const weight = { name: own, shape, place }
  const { ours, theirs, change = (x) => x, otherwise = () => undefined } = rule
  return {
    name,
    theirs: theirs.map((other) => {
      const numbered = other.replace('$last', String(place.last))
      return place.prefix + own.replace(ours, numbered)
    }),
    make: (found) => (found === undefined ? otherwise(weight) : change(found, weight)),
  }
}

/**
 * Translates tensors of x-transformers 2 for a model. They are made of those of the file by
 * operations that have gradients; those that need no change are the same.
 *
 * @param wanted what all names in the file begin with; undefined: what is found
 * @param metadata of the model, which have its class and options
 * @throws XTransformersError (`not_available`) where the options of the model make it impossible;
 *   (`invalid_argument`) for a model of the user's own
 */
export function fromXTransformers2(
  tensors: StateDict,
  wanted: string | undefined,
  entries: readonly Entry[],
  metadata: Readonly<Record<string, string>>,
  offsets: Offsets,
): Translated {
  const ruled = ruledPlaces(describedIn(metadata), entries, offsets)
  const steps = entries.map((entry) => stepFor(entry, ruled))
  const known = new Set(steps.flatMap(({ theirs }) => theirs))
  const has = (name: string) => known.has(plainName(name))
  const prefix = wanted ?? findPrefix([...tensors.keys()], { has })
  const file = new File(tensors, prefix)
  const state = new Map<string, Tensor>()
  tidy(() => {
    for (const { name, theirs, make } of steps) {
      const weight = make(file.take(theirs))
      if (weight !== undefined) state.set(name, weight)
    }
    return state
  })
  for (const { name, tied } of entries) {
    const same = tied === null ? undefined : state.get(tied)
    if (same !== undefined && !state.has(name)) state.set(name, same)
  }
  return { state, unexpected: file.left, prefix }
}
