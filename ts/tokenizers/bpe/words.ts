/**
 * GPT-2's way to cut a text into words, which no token crosses. Its pattern is
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * Here it is read letter by letter: the engine's regular expressions keep a position for each
 * letter of a run, and give up on runs of some millions.
 */

const LETTER = 1
const NUMBER = 2
/** White space of Unicode, as the pattern means it; `\s` of JavaScript is another set. */
const SPACE = 3
const OTHER = 4

/** The kind of each code point that was asked for. */
let kinds: Uint8Array | null = null

function findKind(code: number): number {
  const character = String.fromCodePoint(code)
  if (/\p{L}/u.test(character)) return LETTER
  if (/\p{N}/u.test(character)) return NUMBER
  return /\p{White_Space}/u.test(character) ? SPACE : OTHER
}

function kindOf(code: number): number {
  kinds ??= new Uint8Array(0x110000)
  const known = kinds[code] as number
  if (known !== 0) return known
  const kind = findKind(code)
  kinds[code] = kind
  return kind
}

/** Where a run of characters of one kind ends. */
function runEnd(text: string, start: number, kind: number): number {
  let at = start
  while (at < text.length) {
    const code = text.codePointAt(at) as number
    if (kindOf(code) !== kind) break
    at += code > 0xffff ? 2 : 1
  }
  return at
}

const kindAt = (text: string, at: number) => kindOf(text.codePointAt(at) as number)

const CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
const APOSTROPHE = 0x27
const BLANK = 0x20

/**
 * Where the word ends that begins at `start`.
 *
 * @param text without lone surrogates
 * @param start less than the length of the text
 */
export function wordEnd(text: string, start: number): number {
  const first = text.charCodeAt(start)
  if (first === APOSTROPHE) {
    const found = CONTRACTIONS.find((end) => text.startsWith(end, start))
    if (found) return start + found.length
  }
  const kind = kindAt(text, start)
  if (kind !== SPACE) return runEnd(text, start, kind)
  // one blank belongs to the word after it
  if (first === BLANK && start + 1 < text.length) {
    const next = kindAt(text, start + 1)
    if (next !== SPACE) return runEnd(text, start + 1, next)
  }
  const end = runEnd(text, start, SPACE)
  // the last of several is left for the next word; white space has one code unit each
  return end < text.length && end - start > 1 ? end - 1 : end
}
