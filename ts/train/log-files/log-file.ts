import { files } from '#files'
import { joined } from '../../io/joined.js'
import type { Appender } from '../../io/platform.js'
import { openSource } from '../../io/sources.js'
import { Promises } from '../../promises.js'

/** Bytes are gathered so long, in milliseconds. */
const WAIT = 1000

/** Bytes that are copied in this time, at most, where each change copies the file. */
const COPIED = 2 ** 20

/** A file that a run writes what it hears to, a little later. */
export class LogFile {
  readonly #path: string
  readonly #file: Appender
  #waiting: Uint8Array[] = []
  #flushed = performance.now()
  #timer: ReturnType<typeof setTimeout> | undefined
  /** The writes so far, one after the other; one that fails lets those behind it fail too. */
  #written: Promise<void> = Promises.resolve()

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

  /** How long bytes are gathered: longer where they cost a copy of a large file. */
  get #wait(): number {
    const { copied, size } = this.#file
    return copied ? WAIT * Math.max(1, size / COPIED) : WAIT
  }

  /** Adds bytes, which are written in a while. What fails then is told by the next call. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes)
    const left = this.#flushed + this.#wait - performance.now()
    if (left <= 0) return await this.flush()
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.flush().catch(() => {}), left)
    // of Node: a process need not wait for it
    const timer = this.#timer as { unref?(): void }
    timer.unref?.()
  }

  /** Writes what was added. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const parts = this.#waiting
    this.#waiting = []
    this.#flushed = performance.now()
    if (parts.length > 0) this.#written = this.#written.then(() => this.#file.append(joined(parts)))
    return this.#written
  }

  /** As `flush`, where that costs no copy of the file. */
  async flushCheaply(): Promise<void> {
    if (!this.#file.copied) await this.flush()
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.#file.close()
    }
  }
}
