/** Sources and targets for the tests of loading and saving; they work on every platform. */
import { expect } from 'vitest'
import { XTransformersError } from 'x-transformers'

/** The arguments of the `on_progress` calls. */
export interface ProgressReport {
  loaded: number
  total: number | null
}

/** A stream of bytes in chunks of `size`. */
export function inPieces(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, at + size))
      at += size
    },
  })
}

/** A stream that gives `bytes` and never ends. */
export function endless(bytes: Uint8Array): {
  stream: ReadableStream<Uint8Array>
  cancelled: unknown[]
} {
  const cancelled: unknown[] = []
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(bytes),
    cancel: (reason) => void cancelled.push(reason),
  })
  return { stream, cancelled }
}

/** Checks that the progress calls lead from 0 to `size`. */
export function expectProgress(reports: readonly ProgressReport[], size: number): void {
  expect(reports.length).toBeGreaterThan(0)
  for (const [i, { loaded, total }] of reports.entries()) {
    expect(loaded).toBeGreaterThanOrEqual(reports[i - 1]?.loaded ?? 0)
    if (total !== null) expect(loaded).toBeLessThanOrEqual(total)
  }
  expect(reports.at(-1)).toEqual({ loaded: size, total: size })
}

/** Expects the promise to reject with an error of the library. */
export async function expectError(
  pending: Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<void> {
  const error = await pending.then(
    () => 'no error',
    (error) => error,
  )
  expect(error).toBeInstanceOf(XTransformersError)
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
}

/** Collects unhandled rejections until `stop`. */
export function watchRejections(): { seen: unknown[]; stop(): void } {
  const seen: unknown[] = []
  if (typeof addEventListener === 'function') {
    const listener = ({ reason }: PromiseRejectionEvent) => void seen.push(reason)
    addEventListener('unhandledrejection', listener)
    return { seen, stop: () => removeEventListener('unhandledrejection', listener) }
  }
  const listener = (reason: unknown) => void seen.push(reason)
  process.on('unhandledRejection', listener)
  return { seen, stop: () => void process.off('unhandledRejection', listener) }
}

export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

/** The header of a safetensors file. */
export function header(bytes: Uint8Array): Record<string, unknown> {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
}

/**
 * A file handle like those of `showSaveFilePicker()`: the written content replaces the old one on
 * close.
 */
export class FakeFile {
  content: Uint8Array
  readonly name = 'fake.safetensors'
  aborted: unknown[] = []
  opened = 0
  /** The error that writing fails with. */
  failure: unknown

  constructor(content: Uint8Array = new Uint8Array(0)) {
    this.content = content
  }

  async getFile(): Promise<Blob> {
    return new Blob([this.content.slice()])
  }

  async createWritable(): Promise<WritableStream> {
    this.opened++
    const chunks: Uint8Array[] = []
    return new WritableStream<Uint8Array>({
      write: (chunk) => {
        if (this.failure) throw this.failure
        chunks.push(chunk)
      },
      close: () => {
        this.content = joined(chunks)
      },
      abort: (reason) => void this.aborted.push(reason),
    })
  }
}
