import { BRAND, type Brand, brand, withArticle } from '../brand.js'
import { checkFlag, checkOptions, isMap, isRecord } from '../checks.js'
import { checkReading, checkSignal, type ReadOptions } from '../control.js'
import type { Target } from '../io/sources.js'
import type { ModelDescription } from '../models/describe.js'
import type { Cacheable } from '../models/stepwise.js'
import type { LoadWeightsOptions } from '../module/loading.js'
import { type MuonGroup, muonGroups } from '../module/matrices.js'
import type { Module } from '../module/module.js'
import { checkPattern, type NamePattern } from '../module/patterns.js'
import type { LoadResult, LoadStateOptions } from '../module/state.js'
import type { Quantization } from '../module/submodule.js'
import { Promises } from '../promises.js'
import type { Connection } from './client.js'
import type { Id } from './protocol.js'
import { callRemote, notifyRemote, RemoteObject, saveRemote } from './remote.js'
import { packSources, type WorkerSource } from './source.js'
import type { HostTensor, TensorInput } from './tensor.js'
import type { RemoteMethod } from './types.js'
import { packArguments, REMOTE } from './values.js'

/** Options of {@link RemoteModel.loadWeights}. */
export interface WorkerWeightsOptions extends LoadWeightsOptions {
  /**
   * Gives the memory of ArrayBuffers, or of Uint8Arrays that are all of one, to the worker in place
   * of a copy; the page cannot use it any more.
   *
   * @default false
   */
  transfer?: boolean | undefined
}

/** Parameters of a model in a worker that one of the two rules of Muon steps. */
export type RemoteMuonGroup = MuonGroup<string> & { model: RemoteModel }

/** A loaded model: a constructor that gets this in place of arguments takes it over. */
export class LoadedRemote {
  constructor(
    readonly object: Id,
    /** The models within, by the option's name. */
    readonly inner: ReadonlyMap<string, RemoteModel>,
  ) {}
}

/** The named arguments at the end of a call, apart from its signal. */
export function splitSignal(args: readonly unknown[]): {
  args: unknown[]
  signal: AbortSignal | undefined
} {
  const last = args.at(-1)
  if (!isRecord(last) || !('signal' in last)) return { args: [...args], signal: undefined }
  const { signal, ...rest } = last
  return { args: [...args.slice(0, -1), rest], signal: checkSignal(signal) }
}

/**
 * A model in a worker. What is called on it runs there, in the order of the calls.
 *
 * `dispose()` frees it and the models that it was given; what another live model has within stays.
 * A later step of an optimizer of it is an error (`disposed`).
 */
export abstract class RemoteModel extends RemoteObject {
  /**
   * Resolves to the model once it is there. Rejects with every problem of the options; so does
   * every call on the model, so that nobody has to wait for this.
   */
  readonly ready: Promise<this>
  readonly #inner: ReadonlyMap<string, RemoteModel>
  #training = true

  /** @internal */
  constructor(connection: Connection, name: string, args: readonly unknown[] | LoadedRemote) {
    const id = args instanceof LoadedRemote ? args.object : connection.next()
    const wire =
      args instanceof LoadedRemote
        ? null
        : packArguments(args, connection, `the argument of ${name}`).value
    super(connection, id, null)
    if (args instanceof LoadedRemote) {
      this.#inner = args.inner
      for (const inner of args.inner.values()) inner[REMOTE].owner = this
      this.ready = Promises.resolve(this)
    } else {
      this.#inner = modelsIn(args)
      this.ready = connection
        .request('construct', { object: id, class: name, args: wire ?? [] })
        .then(() => this)
      this.ready.catch(() => {})
    }
  }

  /** Whether dropout is on: true for a new model, false after `eval()`. */
  get training(): boolean {
    return this.#training
  }

  /**
   * Turns dropout on (or off), in the models within too; calls made before keep the mode that they
   * were made in.
   */
  train(on = true): this {
    this.#mode(checkFlag(on, 'the mode'))
    notifyRemote(this[REMOTE], 'train', [on])
    return this
  }

  /** Turns dropout off, and nothing else. */
  eval(): this {
    return this.train(false)
  }

  #mode(on: boolean): void {
    this.#training = on
    for (const inner of this.#inner.values()) inner.#mode(on)
  }

  /**
   * Freezes the parameters whose names fit a pattern, as `freeze` of the main library does, and
   * gives the names of those that were not frozen before.
   *
   * @throws XTransformersError (`invalid_argument`) where no name fits
   */
  async freeze(pattern: NamePattern = '*'): Promise<string[]> {
    return await callRemote(this[REMOTE], 'freeze', [checkPattern(pattern)])
  }

  /** Thaws parameters by their names, as {@link freeze} freezes them. */
  async unfreeze(pattern: NamePattern = '*'): Promise<string[]> {
    return await callRemote(this[REMOTE], 'unfreeze', [checkPattern(pattern)])
  }

  /** The structure of the model: its options, parts, shapes and sizes. Draws no values. */
  describe(): Promise<ModelDescription> {
    return callRemote(this[REMOTE], 'describe', [])
  }

  /** Number of single weights, each counted once. Draws no values. */
  numParameters(): Promise<number> {
    return callRemote(this[REMOTE], 'numParameters', [])
  }

  /**
   * The parameters in two groups for `Muon`, as `muonParameters` of the main library gives them, by
   * their names. Draws no values.
   *
   * @example
   * const optimizer = new x.Muon(await model.muonParameters(), { lr: 1e-3 })
   */
  async muonParameters(): Promise<[matrices: RemoteMuonGroup, others: RemoteMuonGroup]> {
    const { parameters } = await this.describe()
    const [matrices, others] = muonGroups(
      parameters.map((parameter) => [parameter.name, parameter] as const),
      ({ shape }) => shape,
      ({ table }) => table === true,
    )
    const named = ({ params, use_muon }: typeof matrices): RemoteMuonGroup => ({
      model: this,
      params: params.map(({ name }) => name),
      use_muon,
    })
    return [named(matrices), named(others)]
  }

  /**
   * Keeps the weights of linear layers in fewer bytes, for inference, as `quantize` of the main
   * library does; calls made before have the old ones.
   *
   * @throws XTransformersError (`invalid_options`, `invalid_tensor`)
   */
  async quantize(format: Quantization): Promise<void> {
    await callRemote(this[REMOTE], 'quantize', [format])
  }

  /** How quantized weights are kept; null where all are f32. */
  quantization(): Promise<Quantization | null> {
    return callRemote(this[REMOTE], 'quantization', [])
  }

  /** Copies of every parameter and persistent buffer, by its name in the Python package. */
  async stateDict(): Promise<Map<string, HostTensor>> {
    return new Map(
      Object.entries(await callRemote<Record<string, HostTensor>>(this[REMOTE], 'stateDict', [])),
    )
  }

  /**
   * Copies values into the parameters and buffers, by name; values of other types are converted.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where names or shapes do not fit
   */
  async loadStateDict(
    state: ReadonlyMap<string, TensorInput> | Readonly<Record<string, TensorInput>>,
    options: LoadStateOptions = {},
  ): Promise<LoadResult> {
    const entries = isMap(state) ? Object.fromEntries(state) : state
    return await callRemote(this[REMOTE], 'loadStateDict', [entries, options])
  }

  /**
   * Reads a file into the parameters and buffers, as `loadWeights` of the main library does:
   * safetensors, or what `torch.save` has made of a state dict. Later calls on this worker wait for
   * it. At its peak there is memory for the old weights and the new.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`, `out_of_memory`); nothing is changed
   *   then, nor after an abort
   */
  async loadWeights(
    source: WorkerSource | readonly WorkerSource[],
    given: WorkerWeightsOptions = {},
  ): Promise<LoadResult> {
    const { connection, id } = this[REMOTE]
    const { transfer: give, signal, on_progress, ...options } = checkOptions(given, 'loadWeights()')
    const [plain] = packArguments([options], connection, 'the options of loadWeights()').value
    const { value, transfer } = packSources(source, checkFlag(give, 'transfer', false))
    const control = { ...checkReading({ signal, on_progress } as ReadOptions), transfer }
    const call = { object: id, method: 'loadWeights', args: [value, plain] }
    return (await connection.request('call', call, control)) as LoadResult
  }

  /** The weights as the bytes of a safetensors file. */
  saveBytes(): Promise<Uint8Array> {
    return callRemote(this[REMOTE], 'saveBytes', [])
  }

  /** The weights as a Blob with the content of a safetensors file, such as for a download. */
  saveBlob(): Promise<Blob> {
    return callRemote(this[REMOTE], 'saveBlob', [])
  }

  /**
   * Writes the weights as safetensors, from the worker: to `opfs:folder/name`, a
   * `FileSystemFileHandle`, a stream; in Node a path.
   */
  save(target: Target): Promise<void> {
    return saveRemote(this[REMOTE], target)
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(`${withArticle(this.constructor.name)} in a worker`, true)
  }

  /** The model that was given as option `name`. */
  protected within<M extends RemoteModel | undefined>(name: string): M {
    return this.#inner.get(name) as M
  }

  /** @internal */
  protected compute(method: string): never {
    const run = (...given: unknown[]) => {
      const { args, signal } = splitSignal(given)
      return callRemote(this[REMOTE], method, args, signal)
    }
    // an async function, so that wrong arguments reject
    return (async (...given: unknown[]) => await run(...given)) as never
  }
}

/** A model with the `forward` of `M`. */
export abstract class Computing<M extends Module> extends RemoteModel {
  /** As `forward` of the class in the main library, for copies: results have no graph. */
  get forward(): RemoteMethod<M['forward']> {
    return this.compute('forward')
  }
}

/** A model that generates step by step. */
export abstract class Stepwise<M extends Module> extends Computing<M> {
  /**
   * Whether `generate` keeps keys and values between its steps, and why not where it does not.
   * Draws no values.
   *
   * @example
   * const { cached, reason } = await model.cacheable()
   */
  cacheable(): Promise<Cacheable> {
    return callRemote(this[REMOTE], 'cacheable', [])
  }
}

/** The models among the arguments of a constructor, by the option's name. */
function modelsIn(args: readonly unknown[]): Map<string, RemoteModel> {
  const named = args.flatMap((arg): [string, unknown][] => {
    if (arg instanceof RemoteModel) return [['net', arg]]
    return typeof arg === 'object' && arg !== null ? Object.entries(arg) : []
  })
  return new Map(
    named.filter((entry): entry is [string, RemoteModel] => entry[1] instanceof RemoteModel),
  )
}
