// A digest of everything that a fixture computes: equal digests mean equal bits.
import { createHash } from 'node:crypto'
import type { Observer } from './compare.js'

export interface Digest {
  observe: Observer
  /** SHA-256 of names, shapes and values so far, as hexadecimal digits. */
  value(): string
}

export function digest(): Digest {
  const hash = createHash('sha256')
  return {
    observe(name, { shape, data }) {
      hash.update(`${JSON.stringify([name, shape])}\n`)
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    },
    value: () => hash.copy().digest('hex'),
  }
}
