import { readFileSync, writeFileSync } from 'node:fs'

/** Which character is which token. */
export class Vocabulary {
  readonly #characters: string[]
  readonly #tokens: Map<string, number>

  constructor(characters: string[]) {
    this.#characters = characters
    this.#tokens = new Map(characters.map((character, token) => [character, token]))
  }

  /**
   * The characters of a text; those that occur fewer than `atLeast` times cannot be learned and are
   * left out.
   */
  static of(text: string, atLeast = 10): Vocabulary {
    const counts = new Map<string, number>()
    for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
    const common = [...counts]
      .filter(([, count]) => count >= atLeast)
      .map(([character]) => character)
    return new Vocabulary(common.sort())
  }

  get size(): number {
    return this.#characters.length
  }

  /** Leaves out characters that are not in the vocabulary. */
  encode(text: string): number[] {
    return Array.from(text, (character) => this.#tokens.get(character)).filter(
      (token) => token !== undefined,
    )
  }

  decode(token: number): string {
    return this.#characters[token] ?? ''
  }

  /** A small file beside the checkpoint. */
  static path(checkpoint: string): string {
    return `${checkpoint.replace(/\.safetensors$/, '')}.vocab.json`
  }

  save(checkpoint: string): void {
    writeFileSync(Vocabulary.path(checkpoint), `${JSON.stringify(this.#characters)}\n`)
  }

  static load(checkpoint: string): Vocabulary {
    return new Vocabulary(JSON.parse(readFileSync(Vocabulary.path(checkpoint), 'utf8')))
  }
}
