/** How the native methods call the WebAssembly module. */
import { XTransformersError } from '../errors.js'
import type { NativeResult, NativeTensor } from '../native/methods.gen.js'
import type { NativeAbortFlag } from '../native/types.js'
import { yieldToEventLoop } from './event-loop.js'
import type { ExternalMemory } from './external-memory.js'
import type { MethodsGlue as Glue, Handle, Reply } from './glue.gen.js'
import type { Instance, Owned } from './instance.js'

/** Set by an AbortSignal; seen before a deferred call begins. */
export class AbortFlag implements NativeAbortFlag {
  aborted = false

  set(): void {
    this.aborted = true
  }
}

/**
 * Runs `run` in its turn, on the calling thread. What it needs stays until then, even if the user
 * disposes it.
 */
export async function defer<T>(
  needs: readonly object[],
  run: () => T,
  abort?: NativeAbortFlag,
): Promise<T> {
  const held = needs as readonly Owned[]
  for (const owned of held) owned.hold()
  try {
    await yieldToEventLoop()
    if ((abort as AbortFlag | undefined)?.aborted)
      throw new XTransformersError('aborted', 'aborted')
    return run()
  } finally {
    for (const owned of held) owned.release()
  }
}

export const handles = (owned: readonly object[]) =>
  Uint32Array.from(owned as readonly Owned[], ({ handle }) => handle)

/** A row of numbers, where there is one. */
export const numbers = (row: Float64Array | undefined) => (row ? Array.from(row) : null)

type TensorClass = new (
  instance: Instance,
  handle: Handle,
  externalMemory: ExternalMemory | null,
) => NativeTensor

/** The tensor that `call` makes. */
export function made(
  Class: TensorClass,
  instance: Instance,
  call: (glue: Glue) => Handle,
): NativeTensor {
  const [handle, externalMemory] = instance.make(call)
  return new Class(instance, handle, externalMemory)
}

/**
 * The reply that `call` gives; all that it has left behind counts for its first tensor. `held`:
 * bytes that it takes over from calls before.
 */
export function resultOf(
  Class: TensorClass,
  instance: Instance,
  call: (glue: Glue) => Reply,
  held: number,
): NativeResult {
  const [[json, tensors], externalMemory] = instance.make(call, held)
  const wrap = (handle: Handle, i: number) =>
    new Class(instance, handle, i === 0 ? externalMemory : null)
  return { json, tensors: Array.from(tensors, wrap) }
}
