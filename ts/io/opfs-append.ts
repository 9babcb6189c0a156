import { fileError, reasonOf } from './file-errors.js'
import type { Appender } from './platform.js'

/**
 * A file of the origin private file system that grows. Each change is made to a copy, which then
 * takes the place of the file: a page that ends leaves the file whole.
 */
export class OpfsAppender implements Appender {
  readonly copied = true
  readonly #handle: FileSystemFileHandle
  readonly #name: string
  #size: number

  constructor(handle: FileSystemFileHandle, name: string, size: number) {
    this.#handle = handle
    this.#name = name
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  async truncate(size: number): Promise<void> {
    await this.#change((stream) => stream.truncate(size))
    this.#size = size
  }

  async append(bytes: Uint8Array): Promise<void> {
    // of its own memory, which the browser may take
    const data = bytes.slice()
    await this.#change((stream) => stream.write({ type: 'write', position: this.#size, data }))
    this.#size += bytes.length
  }

  async close(): Promise<void> {}

  async #change(change: (stream: FileSystemWritableFileStream) => Promise<void>): Promise<void> {
    try {
      const stream = await this.#handle.createWritable({ keepExistingData: true })
      try {
        await change(stream)
        await stream.close()
      } catch (error) {
        // without it the copy stays, and takes room. It may have been aborted by its error
        await stream.abort(error).catch(() => {})
        throw error
      }
    } catch (error) {
      throw fileError(`${this.#name} cannot be written: ${reasonOf(error)}`, error)
    }
  }
}
