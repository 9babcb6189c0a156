import { checkList, checkOptions, describeValue, isBytes, refuse, tagOf } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { tensor } from '../tensor/creation.js'
import type { Tensor } from '../tensor/tensor.js'
import { checkCount } from './checks.js'

/** How the values of an image are scaled: bytes become `(byte / 255 - mean) / std`. */
export interface NormalizeOptions {
  /**
   * One number, or one for each channel.
   *
   * @default 0
   */
  mean?: number | readonly number[] | undefined
  /**
   * One number above 0, or one for each channel.
   *
   * @default 1
   */
  std?: number | readonly number[] | undefined
}

/** Options of {@link fromPixels}. */
export interface PixelsOptions extends NormalizeOptions {
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /**
   * How many channels a pixel of the image has: 1 (gray), 3 (RGB) or 4 (RGBA), as those of a
   * canvas.
   *
   * @default 3
   */
  channels?: number | undefined
  /**
   * How many of them are taken: 3 of a canvas, without the alpha.
   *
   * @default channels
   */
  keep?: number | undefined
}

/** The scale of each channel, checked. */
export interface Scale {
  mean: readonly number[]
  std: readonly number[]
}

export function checkScale({ mean, std }: NormalizeOptions, channels: number): Scale {
  return {
    mean: perChannel(mean ?? 0, 'mean', channels, (x) => Number.isFinite(x)),
    std: perChannel(std ?? 1, 'std', channels, (x) => Number.isFinite(x) && x > 0),
  }
}

function perChannel(
  value: number | readonly number[],
  what: string,
  channels: number,
  valid: (x: number) => boolean,
): number[] {
  const list =
    typeof value === 'number'
      ? new Array<number>(channels).fill(value)
      : checkList(value, what, `${channels} numbers`)
  if (list.length === channels && list.every((x) => typeof x === 'number' && valid(x))) return list
  const numbers = what === 'std' ? 'a number above 0' : 'a number'
  throw new XTransformersError(
    'invalid_argument',
    `${what} must be ${numbers}, or one for each of the ${channels} channels, got ${describeValue(list.length === channels ? list.find((x) => typeof x !== 'number' || !valid(x)) : value)}`,
  )
}

/** Pixels, (height, width, `channels`), as planes, (keep, height, width), with scaled values. */
export function planesOf(
  pixels: Uint8Array | Uint8ClampedArray,
  channels: number,
  { mean, std }: Scale,
): Float32Array {
  const size = pixels.length / channels
  const planes = new Float32Array(mean.length * size)
  for (let channel = 0; channel < mean.length; channel++) {
    const scale = 1 / (255 * (std[channel] as number))
    const shift = (mean[channel] as number) / (std[channel] as number)
    const plane = planes.subarray(channel * size, (channel + 1) * size)
    for (let i = 0, at = channel; i < size; i++, at += channels)
      plane[i] = (pixels[at] as number) * scale - shift
  }
  return planes
}

/**
 * An image as a tensor, f32 of shape (channels, height, width), of the bytes of its pixels, row by
 * row: such as `getImageData().data` of a canvas, or what a decoder gives.
 *
 * @throws XTransformersError (`invalid_argument`) where there are not as many bytes as pixels have
 * @example
 * const { data, width, height } = context.getImageData(0, 0, 224, 224)
 * const image = fromPixels(data, { width, height, channels: 4, keep: 3, mean: 0.5, std: 0.5 })
 */
export function fromPixels(pixels: Uint8Array | Uint8ClampedArray, options: PixelsOptions): Tensor {
  const own = checkOptions(options, 'fromPixels()', [
    ...['width', 'height', 'channels', 'keep', 'mean', 'std'],
  ])
  if (!isBytes(pixels) && tagOf(pixels) !== 'Uint8ClampedArray')
    throw refuse('pixels', 'a Uint8Array or a Uint8ClampedArray', pixels)
  const width = checkCount(own.width, 'width', 1)
  const height = checkCount(own.height, 'height', 1)
  const channels = checkCount(own.channels ?? 3, 'channels', 1)
  const keep = checkCount(own.keep ?? channels, 'keep', 1)
  if (keep > channels) throw refuse('keep', `at most the ${channels} channels`, keep)
  const scale = checkScale(own, keep)
  if (pixels.length !== width * height * channels) {
    const message = `${width} x ${height} pixels of ${channels} channels are ${width * height * channels} bytes, got ${pixels.length}`
    throw new XTransformersError('invalid_argument', message)
  }
  return tensor(planesOf(pixels, channels, scale), { shape: [keep, height, width] })
}
