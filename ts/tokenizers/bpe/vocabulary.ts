/** What a byte-level BPE consists of, checked: tokens, merges, special tokens. */
import { describeValue, isMap, isRecord } from '../../checks.js'
import { type ErrorCode, XTransformersError } from '../../errors.js'
import { BYTE_CHARACTERS, bytesOfToken } from './byte-level.js'
import { MAX_MERGES, Merges } from './merges.js'

/** Most ids: more are a mistake, such as one id that is far away from the others. */
const MAX_IDS = 2 ** 22

/** What is to be checked. */
export interface Given {
  vocab: unknown
  merges: unknown
  special_tokens: readonly string[]
}

/** A vocabulary that holds together. */
export class Vocabulary {
  constructor(
    /** The ids of all tokens, special ones too. */
    readonly ids: ReadonlyMap<string, number>,
    /** The tokens by their ids; there may be ids without a token. */
    readonly tokens: readonly (string | undefined)[],
    readonly special: ReadonlyMap<string, number>,
    /** The id of each byte. */
    readonly byteIds: Int32Array,
    readonly merges: Merges,
  ) {}
}

type Fail = (message: string) => never

/** @throws XTransformersError with this code */
export function checkVocabulary(given: Given, code: ErrorCode): Vocabulary {
  const fail: Fail = (message) => {
    throw new XTransformersError(code, message)
  }
  const ids = checkIds(given.vocab, fail)
  const tokens = tokensOf(ids, fail)
  const special = new Map<string, number>()
  for (const token of given.special_tokens) {
    const id = ids.get(token) ?? tokens.length
    ids.set(token, id)
    tokens[id] = token
    special.set(token, id)
  }
  const byteIds = Int32Array.from(BYTE_CHARACTERS, (character, byte) => {
    const id = ids.get(character)
    if (id !== undefined && !special.has(character)) return id
    const name = `the byte ${byte} (${describeValue(character)})`
    return fail(
      special.has(character)
        ? `the special token ${describeValue(character)} is the token of ${name}: name another`
        : `the vocabulary has no token for ${name}, so that some texts could not be encoded`,
    )
  })
  checkTokens(ids, special, fail)
  const merges = checkMerges(given.merges, ids, special, fail)
  return new Vocabulary(ids, tokens, special, byteIds, merges)
}

function checkIds(vocab: unknown, fail: Fail): Map<string, number> {
  if (!isMap(vocab) && !isRecord(vocab))
    return fail(`vocab must be an object of ids by token, got ${describeValue(vocab)}`)
  const entries: [unknown, unknown][] = isMap(vocab) ? [...vocab] : Object.entries(vocab)
  for (const [token, id] of entries) {
    if (typeof token !== 'string' || token === '')
      fail(`vocab must have strings as tokens, not empty, got ${describeValue(token)}`)
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= MAX_IDS)
      fail(
        `the id of the token ${describeValue(token)} must be a whole number from 0 to ${MAX_IDS - 1}, got ${describeValue(id)}`,
      )
  }
  return new Map(entries as [string, number][])
}

function tokensOf(ids: ReadonlyMap<string, number>, fail: Fail): (string | undefined)[] {
  const last = [...ids.values()].reduce((a, b) => Math.max(a, b), -1)
  const tokens: (string | undefined)[] = new Array(last + 1).fill(undefined)
  for (const [token, id] of ids) {
    const other = tokens[id]
    if (other !== undefined)
      fail(`the tokens ${describeValue(other)} and ${describeValue(token)} both have the id ${id}`)
    tokens[id] = token
  }
  return tokens
}

function checkTokens(
  ids: ReadonlyMap<string, number>,
  special: ReadonlyMap<string, number>,
  fail: Fail,
): void {
  for (const token of ids.keys()) {
    if (special.has(token) || bytesOfToken(token) !== null) continue
    fail(
      `the token ${describeValue(token)} is not written in the characters of bytes: name it in special_tokens, or load this vocabulary with loadTokenizer()`,
    )
  }
}

/** The two parts of a merge: `'a b'` or `['a', 'b']`. */
function partsOf(merge: unknown): readonly [string, string] | null {
  const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge
  if (!Array.isArray(parts) || parts.length !== 2) return null
  return parts.every((part) => typeof part === 'string') ? (parts as [string, string]) : null
}

function checkMerges(
  given: unknown,
  ids: ReadonlyMap<string, number>,
  special: ReadonlyMap<string, number>,
  fail: Fail,
): Merges {
  if (!Array.isArray(given)) return fail(`merges must be an array, got ${describeValue(given)}`)
  if (given.length > MAX_MERGES) return fail(`merges has ${given.length}, of at most ${MAX_MERGES}`)
  const idOf = (token: string, i: number): number => {
    const id = special.has(token) ? undefined : ids.get(token)
    const why = special.has(token) ? 'is a special token' : 'is not in vocab'
    return id ?? fail(`merges[${i}] needs the token ${describeValue(token)}, which ${why}`)
  }
  const triples = given.map((merge: unknown, i): [number, number, number] => {
    const parts = partsOf(merge)
    if (!parts)
      return fail(`merges[${i}] must be two tokens, as 'a b', got ${describeValue(merge)}`)
    const [a, b] = parts
    return [idOf(a, i), idOf(b, i), idOf(a + b, i)]
  })
  return mergesOf(triples)
}

/** Merges by their rank; of a pair that comes twice the last one counts, as in Python. */
export function mergesOf(triples: readonly (readonly [number, number, number])[]): Merges {
  const last = new Merges()
  for (const [a, b, product] of [...triples].reverse()) last.add(a, b, product)
  if (last.size === triples.length) return inOrder(triples)
  const kept = Array.from({ length: last.size }, (_, i) => last.merge(last.size - 1 - i))
  return inOrder(kept)
}

function inOrder(triples: readonly (readonly [number, number, number])[]): Merges {
  const merges = new Merges()
  for (const [a, b, product] of triples) merges.add(a, b, product)
  return merges
}
