/** Less than this is not worth telling. */
const MIN_BYTES = 64 * 1024

/**
 * Tells the garbage collector what a small handle holds. It knows the sizes of ArrayBuffers and
 * nothing of WebAssembly's memory, so the handle holds a buffer of that size too: zeroes that
 * nobody touches, for which the system provides no memory.
 */
export class ExternalMemory {
  #buffer: ArrayBuffer | null

  private constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer
  }

  /** Stands for so many bytes; null where they are few, or where there is no room. */
  static of(bytes: number): ExternalMemory | null {
    if (bytes < MIN_BYTES || !canDrop) return null
    try {
      return new ExternalMemory(new ArrayBuffer(bytes))
    } catch {
      return null
    }
  }

  /** Frees the buffer at once, where it would wait for the collector otherwise. */
  drop(): void {
    this.#buffer?.transfer(0)
    this.#buffer = null
  }
}

/** Older engines could not free it, and a loop that disposes everything would pile up buffers. */
const canDrop = typeof ArrayBuffer.prototype.transfer === 'function'
