/** Which positional arguments of the models' methods are tensors, and what stands in them. */
import type { Positional } from './encode.js'

const ids = (...names: string[]): Positional[] => names.map((name) => [name, 'ids'])
const vectors = (name: string): Positional[] => [[name, 'vectors']]

type Methods = Readonly<Record<string, readonly Positional[]>>

const TOKENS: Methods = {
  forward: ids('x'),
  generate: ids('start_tokens'),
  stream: ids('start_tokens'),
  score: ids('tokens'),
}

const VECTORS: Methods = { forward: vectors('x'), generate: vectors('start') }

const CLASSES: Readonly<Record<string, Methods>> = {
  TransformerWrapper: TOKENS,
  AutoregressiveWrapper: TOKENS,
  NonAutoregressiveWrapper: { forward: ids('x') },
  XTransformer: {
    forward: ids('src', 'tgt'),
    generate: ids('seq_in', 'seq_out_start'),
    stream: ids('seq_in', 'seq_out_start'),
    score: ids('src', 'tgt'),
  },
  ViTransformerWrapper: { forward: vectors('img') },
}

/** The tensors among the positional arguments, the first ones. */
export const positionalOf = (className: string, method: string): readonly Positional[] =>
  (CLASSES[className] ?? VECTORS)[method] ?? []
