import { type CallControl, checkSignal } from '../control.js'
import { guarded } from '../errors.js'
import { requireLive } from '../module/parents.js'
import { ENTRIES } from '../module/submodule.js'
import type { ContextJson, NativeAbortFlag } from '../native/native.js'
import { GATES, SELF } from '../symbols.js'
import { heavy, heavySteps } from '../tensor/calls.js'
import type { Device } from '../tensor/device.js'
import { noGradScopeOf } from '../tensor/grad-mode.js'
import type { TensorHandle } from '../tensor/handle.js'
import type { NoGradScope } from '../tensor/no-grad-scope.js'
import { noteKnown } from '../tensor/pending.js'
import { nextContext } from '../tensor/random.js'
import { type Gates, mergeGates, NO_GATES, scheduleSync } from '../tensor/schedule.js'
import { checkArguments, decode, type Encoded, encodeCall } from './encode.js'
import { type LoadedNative, NativeWeights, RECORDING } from './native-weights.js'
import { type Signatures, VECTORS } from './signatures.js'

/** A call that is ready to go: everything about it was fixed when it was made. */
export interface PreparedCall {
  encoded: Encoded
  context: ContextJson
  /** The `noGrad` that it belongs to. */
  noGradScope: NoGradScope | null
  /** What it must wait for. */
  reads: Gates
  /** The weights whose graph its results may hold. */
  graph: Gates
  signal: AbortSignal | undefined
}

/** The models of this package: the weights and the computation are on the native side. */
export abstract class NativeModel<Options = unknown> extends NativeWeights<Options> {
  readonly #signatures: Signatures

  /** @internal */
  protected constructor(
    className: string,
    options: object | LoadedNative,
    signatures: Signatures = VECTORS,
  ) {
    super(className, options)
    this.#signatures = signatures
  }

  #encode(method: string, positional: readonly unknown[], options: object): Encoded {
    const device = () => deviceOf(this)
    return encodeCall(positional, options, this.#signatures[method] ?? [], device)
  }

  /** Fixes a call: its arguments, its random numbers, its place in the order. */
  protected prepare(
    method: string,
    positional: readonly unknown[],
    options: CallControl | null | undefined,
  ): PreparedCall {
    requireLive(this)
    const { signal: given, ...rest } = checkArguments(options, method)
    const signal = checkSignal(given)
    const encoded = this[SELF].#encode(method, positional, rest)
    const handles = encoded.tensors
    const noGradScope = noGradScopeOf(handles, method === 'forward' ? this[GATES]() : NO_GATES)
    return {
      encoded,
      context: nextContext(noGradScope === null, this[RECORDING]),
      noGradScope,
      reads: mergeGates([this[GATES](), ...handles.map((handle) => handle.valueGates())]),
      graph: mergeGates([this[GATES](), ...handles.map((handle) => handle.gates)]),
      signal,
    }
  }

  /**
   * Runs a method of the native model. The result has the type that the flags of the call ask for.
   */
  protected call(
    method: string,
    positional: readonly unknown[],
    options?: CallControl,
  ): Promise<never> {
    return noteKnown(this[SELF].#call(method, positional, options))
  }

  async #call(
    method: string,
    positional: readonly unknown[],
    options?: CallControl,
  ): Promise<never> {
    const call = this.prepare(method, positional, options)
    const { encoded, context, graph, noGradScope } = call
    const result = await this.heavy(
      call,
      (abort) => this.native().call(method, encoded.json, pinned(encoded.tensors), context, abort),
      ({ tensors }) => {
        for (const tensor of tensors) tensor.dispose()
      },
    )
    return decode(result, graph, noGradScope) as never
  }

  /** As {@link call}, at once. */
  protected callSync(method: string, positional: readonly unknown[], options?: object): never {
    requireLive(this)
    const own = checkArguments(options ?? {}, `${method}Sync`)
    const encoded = this[SELF].#encode(method, positional, own)
    try {
      return this[SELF].#callNow(method, encoded)
    } finally {
      encoded.free()
    }
  }

  #callNow(method: string, { json, tensors }: Encoded): never {
    const graph = mergeGates([this[GATES](), ...tensors.map((handle) => handle.gates)])
    const reads = mergeGates([this[GATES](), ...tensors.map((handle) => handle.valueGates())])
    const noGradScope = noGradScopeOf(tensors, method === 'forward' ? this[GATES]() : NO_GATES)
    const context = nextContext(noGradScope === null, this[RECORDING])
    const natives = tensors.map((handle) => handle.use())
    return scheduleSync(`${method}Sync()`, reads, NO_GATES, () =>
      decode(
        guarded(() => this.native().callSync(method, json, natives, context)),
        graph,
        noGradScope,
      ),
    ) as never
  }

  /** As {@link heavy}, for what runs functions of the caller's too: see {@link heavySteps}. */
  protected heavySteps<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard: (value: T) => void,
  ): Promise<T> {
    try {
      return heavySteps({
        reads,
        writes: NO_GATES,
        inputs: encoded.tensors,
        signal,
        start,
        discard,
      })
    } finally {
      encoded.free()
    }
  }

  /** Runs a heavy part of a prepared call. */
  protected heavy<T>(
    { encoded, reads, signal }: PreparedCall,
    start: (abort: NativeAbortFlag) => Promise<T>,
    discard?: (value: T) => void,
  ): Promise<T> {
    try {
      return heavy({
        reads,
        writes: NO_GATES,
        inputs: encoded.tensors,
        signal,
        start,
        ...(discard && { discard }),
      })
    } finally {
      // what was made for the call is pinned now
      encoded.free()
    }
  }
}

const pinned = (handles: readonly TensorHandle[]) => handles.map((handle) => handle.pinned())

/** The device of a model's weights, to which its arguments go. */
export function deviceOf(model: NativeModel): Device {
  return model[ENTRIES]()[0]?.source.tensor().device ?? 'cpu'
}
