import { describe, expect, it } from 'vitest'
import { Encoder, SGD, trainStep, ViTransformerWrapper, XTransformersError } from 'x-transformers'
import {
  collateImages,
  DataLoader,
  fromPixels,
  type ImageBatch,
  type ImageExample,
} from 'x-transformers/data'
import { Trainer } from 'x-transformers/train'
import { expectClose, flat, numbers } from './helpers.js'

function refused(run: () => unknown, message: RegExp): void {
  expect(run).toThrow(XTransformersError)
  expect(run).toThrow(message)
}

describe('fromPixels', () => {
  it('gives planes of scaled values', () => {
    // two pixels side by side, two below
    const rgb = Uint8Array.of(0, 51, 255, 10, 20, 30, 1, 2, 3, 4, 5, 6)
    const image = fromPixels(rgb, { width: 2, height: 2 })
    expect([image.dtype, image.shape]).toEqual(['f32', [3, 2, 2]])
    expectClose(flat(image.mul(255).toArray()), [0, 10, 1, 4, 51, 20, 2, 5, 255, 30, 3, 6], 1e-6)
  })

  it('takes off the mean and divides by the deviation of each channel', () => {
    const rgba = Uint8ClampedArray.of(255, 0, 51, 7)
    const options = { width: 1, height: 1, channels: 4, keep: 3 }
    const image = fromPixels(rgba, { ...options, mean: [0.5, 0.25, 0], std: [0.5, 0.5, 0.1] })
    expect(image.shape).toEqual([3, 1, 1])
    expectClose(numbers(image), [1, -0.5, 2], 1e-6)
    expectClose(numbers(fromPixels(rgba, { ...options, mean: 0.5, std: 0.5 })), [1, -1, -0.6], 1e-6)
  })

  it('refuses what does not fit', () => {
    const bytes = new Uint8Array(12)
    const size = { width: 2, height: 2 }
    refused(() => fromPixels(bytes, { width: 2, height: 3 }), /are 18 bytes, got 12/)
    refused(() => fromPixels([1] as never, size), /pixels must be a Uint8Array/)
    refused(() => fromPixels(bytes, { ...size, keep: 4 }), /keep must be at most the 3 channels/)
    refused(() => fromPixels(bytes, { ...size, std: 0 }), /std must be a number above 0.* got 0/)
    refused(() => fromPixels(bytes, { ...size, mean: [1, 2] }), /one for each of the 3 channels/)
    refused(() => fromPixels(bytes, { ...size, mean: [1, 2, Number.NaN] }), /got NaN/)
    refused(() => fromPixels(bytes, { ...size, width: 0 }), /width must be a whole number from 1/)
    refused(() => fromPixels(bytes, { ...size, wide: 2 } as never), /wide is not an option of/)
  })
})

describe('collateImages', () => {
  const example = (label: number, side = 4): ImageExample => ({
    pixels: new Float32Array(3 * side * side).fill(label),
    shape: [3, side, side],
    label,
  })

  it('makes a batch that a model takes', async () => {
    const vit = new ViTransformerWrapper({
      image_size: 4,
      patch_size: 2,
      num_classes: 5,
      attn_layers: new Encoder({ dim: 8, depth: 1, heads: 1 }),
    })
    const options = { batch_size: 2, collate_fn: collateImages }
    for await (const { images, labels } of new DataLoader([example(2), example(4)], options)) {
      expect([images.shape, labels.shape, labels.dtype]).toEqual([[2, 3, 4, 4], [2], 'i64'])
      expect(numbers(labels)).toEqual([2, 4])
      expect(numbers(images).slice(47, 49)).toEqual([2, 4])
      expect((await vit.forward(images)).shape).toEqual([2, 5])
    }
  })

  it('makes a batch that a Trainer takes, who frees it', async () => {
    const model = () =>
      new ViTransformerWrapper({
        ...{ image_size: 4, patch_size: 2, num_classes: 5 },
        attn_layers: new Encoder({ dim: 8, depth: 1, heads: 1 }),
      })
    const [vit, twin] = [model(), model()]
    twin.loadStateDict(vit.stateDict())
    const [optimizer, own] = [vit, twin].map((of) => new SGD(of.parameters(), { lr: 0.1 }))
    const examples = [example(2), example(4), example(1)]
    const made: ImageBatch[] = []
    const collate_fn = (some: ImageExample[]) => {
      const batch = collateImages(some)
      made.push(batch)
      return batch
    }
    const data = new DataLoader(examples, { batch_size: 2, collate_fn })
    const losses: number[] = []
    const objective = 'cross_entropy'
    const run = new Trainer(vit, { data, optimizer: optimizer as SGD, objective, epochs: 1 })
    for await (const event of run) if (event.type === 'step') losses.push(event.loss)
    for (const some of [examples.slice(0, 2), examples.slice(2)]) {
      const { images, labels } = collateImages(some)
      const step = { objective: { cross_entropy: [labels] } }
      const { loss } = await trainStep(twin, own as SGD, [[images]], step)
      expect(losses.shift()).toBe(loss)
    }
    expect(losses).toEqual([])
    expect(made).toHaveLength(2)
    for (const { images, labels } of made)
      for (const freed of [images, labels]) expect(() => freed.dataSync()).toThrow(/disposed/)
  })

  it('refuses images of other shapes', () => {
    refused(() => collateImages([example(1), example(2, 5)]), /\[3,4,4\]: example 1 is not/)
    refused(() => collateImages([[1]] as never), /example 0 is not/)
  })
})
