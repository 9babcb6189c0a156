import { promises } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Appender } from '../platform.js'
import { saveError } from './save.js'

class FileAppender implements Appender {
  readonly copied = false
  readonly #handle: FileHandle
  readonly #path: string
  #size: number

  constructor(handle: FileHandle, path: string, size: number) {
    this.#handle = handle
    this.#path = path
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  async truncate(size: number): Promise<void> {
    // not by the handle: Windows lets one that appends do nothing else
    await this.#run(() => promises.truncate(this.#path, size))
    this.#size = size
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#run(() => this.#handle.appendFile(bytes))
    this.#size += bytes.length
  }

  async close(): Promise<void> {
    await this.#run(() => this.#handle.close())
  }

  async #run(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      throw saveError(this.#path, error)
    }
  }
}

/** Opens a file to add to it. */
export async function openAppender(path: string): Promise<Appender> {
  try {
    await promises.mkdir(dirname(path), { recursive: true })
    // each write goes to the end, wherever that is by then
    const handle = await promises.open(path, 'a')
    return new FileAppender(handle, path, (await handle.stat()).size)
  } catch (error) {
    throw saveError(path, error)
  }
}
