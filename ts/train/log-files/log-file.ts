import { files } from '#files'
import { joined } from '../../io/joined.js'
import type { Appender } from '../../io/platform.js'
import { openSource } from '../../io/sources.js'

/** Bytes that are gathered, at most so long, in milliseconds. */
const WAIT = 1000

/** A file that a run writes what it hears to, a little later. */
export class LogFile {
  readonly #path: string
  readonly #file: Appender
  #waiting: Uint8Array[] = []
  #flushed = performance.now()

  private constructor(path: string, file: Appender) {
    this.#path = path
    this.#file = file
  }

  /** @throws XTransformersError (`file`) */
  static async open(path: string): Promise<LogFile> {
    return new LogFile(path, await files.append(path))
  }

  /** What is in it. */
  async read(): Promise<Uint8Array> {
    const { size } = this.#file
    if (size === 0) return new Uint8Array()
    const input = await openSource(this.#path)
    try {
      return (await input.read(0, size)).slice()
    } finally {
      await input.close()
    }
  }

  /** Cuts it to so many bytes. */
  async cut(size: number): Promise<void> {
    if (size < this.#file.size) await this.#file.truncate(size)
  }

  /** Adds bytes, which `flush` writes; so does this, where that is long ago. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes)
    if (performance.now() - this.#flushed >= WAIT) await this.flush()
  }

  async flush(): Promise<void> {
    const parts = this.#waiting
    this.#waiting = []
    this.#flushed = performance.now()
    if (parts.length > 0) await this.#file.append(joined(parts))
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.#file.close()
    }
  }
}
