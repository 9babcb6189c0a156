/** What each platform, Node or a browser, adds to reading and writing: `#files` is one of these. */
import type { ReadOptions } from '../control.js'
import type { Input, SyncInput } from './inputs.js'

/** A file that a page has a handle of: a `FileSystemFileHandle`, as far as it is used here. */
export interface FileHandle {
  readonly name: string
  getFile(): Promise<Blob>
  /** A stream whose content replaces that of the file when it is closed. */
  createWritable(): Promise<WritableStream>
}

/**
 * Where bytes go, all at once: what was there stays until the new content is whole, as far as the
 * platform can do that.
 */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>
  /** Nothing will be written after all. */
  abort(reason: unknown): Promise<void>
}

/** A file that grows at its end. What was appended stays where the process is killed. */
export interface Appender {
  /** In bytes. */
  readonly size: number
  /** Whether each change copies the whole file. */
  readonly copied: boolean
  /** Cuts it to so many bytes. */
  truncate(size: number): Promise<void>
  append(bytes: Uint8Array): Promise<void>
  close(): Promise<void>
}

/**
 * What a platform finds by a name. Every error has the code `file`, or `invalid_argument` for names
 * that cannot be.
 */
export interface Files {
  read(name: string | URL, options: ReadOptions): Promise<Input>
  readSync(name: string | URL): SyncInput
  /** The name of a file beside another one. */
  sibling(name: string | URL, file: string): string | URL
  /** Whether it names a folder; an address does where it ends in `/`. */
  isFolder(name: string | URL): Promise<boolean>
  /** Checks the name, and touches nothing yet. */
  open(name: string): Sink
  writeSync(path: string, produce: () => Uint8Array): void
  /** Opens a file to add to it; one that is not there is made, with the folders around it. */
  append(name: string): Promise<Appender>
  /** Makes a folder, and those around it, where there is none. */
  makeFolder(folder: string): Promise<void>
  /** The names of what lies in a folder, in no order; null where there is no folder. */
  list(folder: string): Promise<string[] | null>
  /** Removes a file, or a folder with all that is in it; nothing where there is none. */
  remove(name: string): Promise<void>
}
