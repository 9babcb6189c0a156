/** What turns text into token ids, and back. */
export interface Tokenizer {
  /** The number of ids, which are whole numbers from 0: `num_tokens` of a model. */
  readonly vocabSize: number
  /** The ids of a text. */
  encode(text: string): number[]
  /** The text of ids. Bytes that are no UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string
}
