import { type AutoregressiveWrapper, tensor } from 'x-transformers'
import type { Vocabulary } from './vocabulary.js'

export interface SampleSettings {
  prompt: string
  characters: number
  temperature: number
  signal: AbortSignal
}

/**
 * Lets the model go on from the prompt; `write` gets the prompt and then each character. An abort
 * ends the text, without an error.
 */
export async function sample(
  model: AutoregressiveWrapper,
  vocabulary: Vocabulary,
  { prompt, characters, temperature, signal }: SampleSettings,
  write: (text: string) => void,
): Promise<string> {
  const start = vocabulary.encode(prompt)
  if (!start.length) start.push(...vocabulary.encode('\n'))
  let text = start.map((token) => vocabulary.decode(token)).join('')
  write(text)
  try {
    const tokens = tensor(start, { shape: [1, start.length], dtype: 'i64' })
    for await (const token of model.eval().stream(tokens, characters, { temperature, signal })) {
      const character = vocabulary.decode(token as number)
      text += character
      write(character)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  write('\n')
  return text
}
