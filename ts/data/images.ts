/** Images from files, decoded by the package sharp. */
import { checkList, checkOptions, has, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { fileError, reasonOf } from '../io/file-errors.js'
import { openSource, type Source } from '../io/sources.js'
import { tensor } from '../tensor/creation.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkCount, checkIndex } from './checks.js'
import type { Dataset } from './dataset.js'
import { checkScale, type NormalizeOptions, planesOf, type Scale } from './pixels.js'
import { sourceName } from './source-name.js'

/** Options of {@link images}. */
export interface ImagesOptions extends NormalizeOptions {
  /**
   * Height and width that images are given, in pixels: one number for both, or `[height, width]`.
   * An image of another form is scaled until it covers that, and cut around its middle.
   */
  size: number | readonly [height: number, width: number]
  /**
   * 1 (gray) or 3 (RGB).
   *
   * @default 3
   */
  channels?: 1 | 3 | undefined
}

/** An image and what it shows. */
export interface ImageExample {
  /** Scaled values, (channels, height, width), one row after the other. */
  pixels: Float32Array
  shape: [channels: number, height: number, width: number]
  /** The number of its class. */
  label: number
}

/** Images and the numbers of their classes; a `Trainer` takes it as it is. */
export interface ImageBatch {
  /** f32, (batch, channels, height, width). */
  images: Tensor
  /** i64, (batch). */
  labels: Tensor
  /** The same images, as arguments of `forward`. */
  args: [images: Tensor]
  /** The same labels, which an `objective` compares with. */
  target: Tensor
}

/** As far as it is used here, what sharp makes of an image. */
interface Sharp {
  rotate(): Sharp
  resize(options: { width: number; height: number; fit: 'cover' }): Sharp
  flatten(options: { background: string }): Sharp
  toColourspace(space: 'srgb' | 'b-w'): Sharp
  raw(): Sharp
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Uint8Array
    info: { channels: number }
  }>
}

type Decoder = (bytes: Uint8Array) => Sharp

/** Bundlers must not look for it: it is installed by those who need it. */
async function loadSharp(name = 'sharp'): Promise<Decoder> {
  try {
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name)
    if (typeof module.default === 'function') return module.default
    throw new Error('it exports no function')
  } catch (error) {
    throw new XTransformersError(
      'not_available',
      `images() decodes with the package sharp, which cannot be loaded (npm install sharp; it is for Node: on a page, give the pixels of a canvas to fromPixels()): ${reasonOf(error)}`,
      [],
      { cause: error },
    )
  }
}

/**
 * A dataset of images in files (PNG, JPEG, WebP and others), for a {@link ViTransformerWrapper}:
 * each is read, decoded and scaled when it has its turn. In Node, with the package sharp, which is
 * installed apart: `npm install sharp`.
 *
 * Images are turned as their EXIF data says; what is transparent becomes white.
 *
 * @param sources paths, bytes, or anything else that {@link Source} names
 * @param labels the number of each image's class
 * @throws XTransformersError (`not_available`) where sharp is not installed; later, when an image
 *   is asked for, (`file`) where it cannot be read or decoded
 * @example
 * const dataset = await images(paths, labels, { size: 224, mean: 0.5, std: 0.5 })
 * const loader = new DataLoader(dataset, { batch_size: 32, collate_fn: collateImages })
 */
export async function images(
  sources: readonly Source[],
  labels: readonly number[],
  options: ImagesOptions,
): Promise<Dataset<ImageExample>> {
  const {
    size,
    channels = 3,
    ...others
  } = checkOptions(options, 'images()', [...['size', 'channels', 'mean', 'std']])
  const files = checkList(sources, 'sources', 'paths or other sources')
  const classes = checkList(labels, 'labels', 'whole numbers')
  if (classes.length !== files.length) {
    const message = `there are ${files.length} images and ${classes.length} labels: give one for each`
    throw new XTransformersError('invalid_argument', message)
  }
  for (const [i, label] of classes.entries()) checkCount(label, `labels[${i}]`, 0)
  if (channels !== 1 && channels !== 3) throw refuse('channels', '1 or 3', channels)
  const scale = checkScale(others, channels)
  return new Images(files, classes, checkSize(size), scale, await loadSharp())
}

function checkSize(size: unknown): [height: number, width: number] {
  if (!Array.isArray(size)) {
    const both = checkCount(size, 'size', 1)
    return [both, both]
  }
  if (size.length !== 2) throw refuse('size', 'a number, or [height, width]', size)
  return [checkCount(size[0], 'size[0]', 1), checkCount(size[1], 'size[1]', 1)]
}

class Images implements Dataset<ImageExample> {
  readonly #files: readonly Source[]
  readonly #labels: readonly number[]
  readonly #size: [height: number, width: number]
  readonly #scale: Scale
  readonly #sharp: Decoder

  constructor(
    files: readonly Source[],
    labels: readonly number[],
    size: [height: number, width: number],
    scale: Scale,
    sharp: Decoder,
  ) {
    this.#files = files
    this.#labels = labels
    this.#size = size
    this.#scale = scale
    this.#sharp = sharp
  }

  get length(): number {
    return this.#files.length
  }

  async get(index: number): Promise<ImageExample> {
    checkIndex(index, 'index', this.length)
    const source = this.#files[index] as Source
    const bytes = await bytesOf(source)
    const [height, width] = this.#size
    const channels = this.#scale.mean.length
    try {
      const { data, info } = await this.#sharp(bytes)
        .rotate()
        .resize({ width, height, fit: 'cover' })
        .flatten({ background: '#ffffff' })
        .toColourspace(channels === 1 ? 'b-w' : 'srgb')
        .raw()
        .toBuffer({ resolveWithObject: true })
      const pixels = planesOf(data, info.channels, this.#scale)
      return { pixels, shape: [channels, height, width], label: this.#labels[index] as number }
    } catch (error) {
      throw fileError(
        `${sourceName(source)} is no image that can be read: ${reasonOf(error)}`,
        error,
      )
    }
  }
}

/** All bytes of a source, as they are the decoder's alone. */
async function bytesOf(source: Source): Promise<Uint8Array> {
  const opened = await openSource(source)
  try {
    const input = await opened.sized(() => {})
    const bytes = await input.read(0, input.size)
    await opened.close()
    return bytes
  } catch (error) {
    await opened.close({ error })
    throw error
  }
}

/**
 * The batch of examples of {@link images}: images, f32 of shape (batch, channels, height, width),
 * and labels, i64 of shape (batch). A `Trainer` finds them under the names that it knows, `args`
 * and `target`.
 *
 * @throws XTransformersError (`invalid_argument`) where the images have several shapes
 * @example
 * for await (const { images, labels } of loader)
 *   await trainStep(vit, optimizer, [[images]], { objective: { cross_entropy: [labels] } })
 */
export function collateImages(examples: readonly ImageExample[]): ImageBatch {
  const shape = examples[0]?.shape ?? []
  const size = shape.reduce((a, b) => a * b, 1)
  const pixels = new Float32Array(examples.length * size)
  for (const [i, example] of examples.entries()) {
    if (!has(example?.shape, 'join') || example.shape.join() !== shape.join()) {
      const message = `collateImages is for images of one shape, [${shape}]: example ${i} is not`
      throw new XTransformersError('invalid_argument', message)
    }
    pixels.set(example.pixels, i * size)
  }
  const classes = BigInt64Array.from(examples, ({ label }) => BigInt(label))
  const images = tensor(pixels, { shape: [examples.length, ...shape] })
  const labels = tensor(classes)
  return { images, labels, args: [images], target: labels }
}
