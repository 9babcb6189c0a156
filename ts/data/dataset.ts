/** Examples by their number, from 0 to `length - 1`. */
export interface Dataset<Example> {
  readonly length: number
  get(index: number): Example | Promise<Example>
}

/** The examples of an array. */
export class ArrayDataset<Example> implements Dataset<Example> {
  readonly #examples: readonly Example[]

  constructor(examples: readonly Example[]) {
    this.#examples = examples
  }

  get length(): number {
    return this.#examples.length
  }

  get(index: number): Example {
    return this.#examples[index] as Example
  }
}
