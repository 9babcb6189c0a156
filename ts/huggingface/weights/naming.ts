/** What tensors are called in files of different versions. */
import type { Family } from '../families/family.js'

/** The names of the rules of a family, and those of a file. */
export class Naming {
  readonly #inFile = new Map<string, string>()
  readonly #inRules = new Map<string, string>()

  /** @param ties whether the head over the vocabulary is the embedding, as configurations say */
  constructor(
    names: Iterable<string>,
    { prefix, renamed = [], copies, tied }: Family,
    ties: boolean,
  ) {
    const all = [...names]
    // a file of the model without a head has no prefix
    const without = prefix !== '' && !all.some((name) => name.startsWith(prefix))
    for (const name of all) {
      let inRules = name
      for (const [from, to] of renamed) inRules = inRules.replace(from, to)
      this.#note(inRules, name)
      // heads have none in either
      if (without) this.#note(prefix + inRules, name)
    }
    // of tensors that are the same, a file may have any one
    const same = { ...copies, ...(ties && tied && { [tied.head]: tied.embedding }) }
    for (const [copy, original] of Object.entries(same)) {
      const name = this.#inFile.get(copy)
      if (name !== undefined) this.#note(original, name)
    }
  }

  #note(inRules: string, inFile: string): void {
    if (this.#inFile.has(inRules)) return
    this.#inFile.set(inRules, inFile)
    if (!this.#inRules.has(inFile)) this.#inRules.set(inFile, inRules)
  }

  /** Whether the file has what rules call so. */
  has(inRules: string): boolean {
    return this.#inFile.has(inRules)
  }

  /** What a file calls it. */
  inFile(inRules: string): string {
    return this.#inFile.get(inRules) ?? inRules
  }
}
