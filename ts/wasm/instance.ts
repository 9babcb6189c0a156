import { XTransformersError } from '../errors.js'
import { ExternalMemory } from './external-memory.js'
import type { Handle } from './glue.gen.js'
import type { Glue } from './glue.js'

const GIB = 2 ** 30

/** Bytes in words. */
export const size = (bytes: number) =>
  bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`

/**
 * An instance of the module: every call into it goes through `run`, since after a trap nothing in
 * it can be trusted.
 */
export class Instance {
  #dead: XTransformersError | null = null

  constructor(readonly glue: Glue) {}

  /** Runs `call`, a call into the module. */
  run<T>(call: (glue: Glue) => T): T {
    if (this.#dead) throw this.#dead
    try {
      return call(this.glue)
    } catch (error) {
      throw isTrap(error) ? this.#die(error) : error
    }
  }

  /**
   * As `run`, for calls that make something: what it holds is told to the garbage collector by the
   * external memory. `held`: bytes that it takes over from calls before.
   */
  make<T>(call: (glue: Glue) => T, held = 0): [value: T, externalMemory: ExternalMemory | null] {
    const [value, grown] = this.measure(call)
    return [value, ExternalMemory.of(grown + held)]
  }

  /** As `run`, with the bytes that the call has left behind. */
  measure<T>(call: (glue: Glue) => T): [value: T, bytes: number] {
    const before = this.run((glue) => glue.memory_held())
    const value = this.run(call)
    return [value, this.run((glue) => glue.memory_held()) - before]
  }

  /** Frees something, whatever state the module is in. */
  free(call: (glue: Glue) => void): void {
    if (!this.#dead) this.run(call)
  }

  /** @throws XTransformersError (`out_of_memory`) where so many bytes cannot be handed over */
  requireMemory(bytes: number, what: string): void {
    const available = this.run((glue) => glue.memory_available())
    if (bytes <= available) return
    throw new XTransformersError(
      'out_of_memory',
      `${what} needs ${size(bytes)}, and ${size(available)} are available (WebAssembly has at most 4 GiB)`,
    )
  }

  #die(cause: unknown): XTransformersError {
    const { glue } = this
    const failed = glue.failed_allocation()
    const words = glue.last_words()
    const what =
      failed > 0 ? `memory ran out (${size(failed)} were wanted)` : (words ?? String(cause))
    this.#dead = new XTransformersError(
      failed > 0 ? 'out_of_memory' : 'internal',
      `the WebAssembly module has stopped: ${what}. Nothing in it can be used any more: reload the page, or terminate() the worker and spawn another`,
      [],
      { cause },
    )
    return this.#dead
  }
}

/**
 * A trap, or a stack that was too small, of the realm of the module; errors of ours are plain
 * `Error`s.
 */
const isTrap = (error: unknown) =>
  /^(RuntimeError|RangeError)$/.test(String((error as { name?: unknown } | null)?.name))

type Free = (glue: Glue) => void

/** Frees what the garbage collector has found unreachable. */
const unreachable = new FinalizationRegistry<{ instance: Instance; free: Free }>(
  ({ instance, free }) => instance.free(free),
)

/** Something in the module, until it is disposed or nobody can reach it. */
export abstract class Owned {
  readonly #instance: Instance
  readonly #handle: Handle
  readonly #free: Free
  readonly #externalMemory: ExternalMemory | null
  #disposed = false
  /** Calls that wait for their turn and need this. */
  #holds = 0

  constructor(
    instance: Instance,
    handle: Handle,
    free: Free,
    externalMemory: ExternalMemory | null = null,
  ) {
    this.#instance = instance
    this.#handle = handle
    this.#free = free
    this.#externalMemory = externalMemory
    unreachable.register(this, { instance, free }, this)
  }

  /**
   * @throws XTransformersError (`disposed`) once it is gone: its number may stand for something
   * else then
   */
  get handle(): Handle {
    this.#check()
    return this.#handle
  }

  /** The instance that it is in. */
  protected get instance(): Instance {
    this.#check()
    return this.#instance
  }

  #check(): void {
    if (this.#disposed && this.#holds === 0) {
      throw new XTransformersError('disposed', 'this was disposed and cannot be used any more')
    }
  }

  protected run<T>(call: (glue: Glue) => T): T {
    return this.instance.run(call)
  }

  /** Keeps it until `release`, though it may be disposed meanwhile. */
  hold(): void {
    this.#check()
    this.#holds++
  }

  release(): void {
    this.#holds--
    if (this.#disposed) this.#end()
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#end()
  }

  #end(): void {
    if (this.#holds > 0) return
    unreachable.unregister(this)
    this.#instance.free(this.#free)
    this.#externalMemory?.drop()
  }
}
