import { BRAND, type Brand, brand } from '../brand.js'
import { checkIterable, checkOptions, isRecord } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import type {
  AdafactorOptions,
  AdamOptions,
  AdamWOptions,
  LionOptions,
  MuonOptions,
  SGDOptions,
} from '../models/options.gen.js'
import { ENGINE, type Engine, type EngineSettings } from '../train/engine.js'
import type { StateSaveOptions } from '../train/state-files.js'
import type { Connection } from './client.js'
import { RATES, RemoteEngine } from './engine.js'
import type { WireGroup } from './protocol.js'
import { callRemote, notifyRemote, RemoteObject, saveRemote } from './remote.js'
import { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { packArguments, REMOTE } from './values.js'

/**
 * Parameters that share their settings; what is not set here comes from the optimizer's options.
 * `params` are names as `describe()` gives them; absent: all of the model.
 */
export type RemoteGroup<Options> = Options & { model: RemoteModel; params?: readonly string[] }

/** What an optimizer is for: all parameters of a model, or groups of them. */
export type RemoteParameters<Options> = RemoteModel | readonly RemoteGroup<Options>[]

type Rate = { lr?: number | undefined }

/**
 * An optimizer in a worker, for `trainStep`. `dispose()` frees the averages; the parameters stay.
 */
export abstract class RemoteOptimizer<Options extends Rate = Rate> extends RemoteObject {
  /**
   * Resolves to the optimizer once it is there. Rejects with every problem of the options; so does
   * every call on it.
   */
  readonly ready: Promise<this>
  #lr: number
  /** @internal The rate of each group, as the optimizer was made. */
  readonly [RATES]: readonly number[]

  /** @internal */
  constructor(
    connection: Connection,
    name: string,
    of: RemoteParameters<Options>,
    given: Options,
    rate: number,
  ) {
    const options = checkOptions(given, name)
    const id = connection.next()
    const groups = groupsOf<Options>(of)
    const wire = groups.map((group, i) => wireGroup(group, connection, `param_groups[${i}]`))
    const params = {
      object: id,
      class: name,
      groups: wire,
      options: packOne(options, connection, `the options of ${name}`),
    }
    // the models in the worker live as long as the optimizer
    super(
      connection,
      id,
      groups.map(({ model }) => model),
    )
    this[RATES] = groups.map((group) => group.lr ?? options.lr ?? rate)
    this.#lr = this[RATES][0] ?? rate
    this.ready = connection.request('optimizer', params).then(() => this)
    this.ready.catch(() => {})
  }

  /**
   * The learning rate of the first group, as it was set here; setting it sets that of every group,
   * for the calls that follow. The next call on the optimizer rejects where it is no rate.
   */
  get lr(): number {
    return this.#lr
  }

  set lr(value: number) {
    notifyRemote(this[REMOTE], 'setOptions', [{ lr: value ?? null }])
    this.#lr = value
  }

  /**
   * Changes settings, of all groups or of one.
   *
   * @throws XTransformersError (`invalid_options`) with every problem; nothing is changed then
   */
  async setOptions(given: Partial<Options>, group?: number): Promise<void> {
    const options = checkOptions(given, 'setOptions()')
    await callRemote(this[REMOTE], 'setOptions', [options, group])
    if (options.lr !== undefined && (group === undefined || group === null || group === 0))
      this.#lr = options.lr
  }

  /** Frees the gradients that an aborted step has left; every step does it at its start. */
  zeroGrad(): void {
    notifyRemote(this[REMOTE], 'zeroGrad', [])
  }

  /** Settings and averages as the bytes of a file, by default of safetensors. */
  saveBytes(options: StateSaveOptions = {}): Promise<Uint8Array> {
    return callRemote(this[REMOTE], 'saveBytes', [options])
  }

  /**
   * Writes settings and averages from the worker: to `opfs:folder/name`, a `FileSystemFileHandle`,
   * a stream; in Node a path. As PyTorch does where the name ends in `.pt`, `.pth`, `.bin` or
   * `.ckpt`, else as safetensors.
   */
  save(target: Target, options: StateSaveOptions = {}): Promise<void> {
    return saveRemote(this[REMOTE], target, options)
  }

  /**
   * Puts back what `save` or `saveBytes` has made, or the state of PyTorch's optimizer of the same
   * name, alone or within a checkpoint. The groups must be as they were.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`); (`not_available`) for settings of
   *   PyTorch that would change results
   */
  async load(source: WorkerSource, options: { key?: string } = {}): Promise<void> {
    const { connection, id } = this[REMOTE]
    const { value, transfer } = packSource(source, false)
    const lr = await connection.request(
      'call',
      { object: id, method: 'load', args: [value, options] },
      { transfer },
    )
    this.#lr = lr as number
  }

  /** @internal */
  [ENGINE](model: unknown, settings: EngineSettings): Engine {
    return new RemoteEngine(model, this as unknown as RemoteOptimizer, settings)
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(`an optimizer in a worker (${this.constructor.name})`, true)
  }
}

/** Gradient descent, with momentum if wanted, in a worker. */
export class SGD extends RemoteOptimizer<SGDOptions> {}

/** Adam, in a worker. */
export class Adam extends RemoteOptimizer<AdamOptions> {}

/** Adam with decoupled weight decay, in a worker. */
export class AdamW extends RemoteOptimizer<AdamWOptions> {}

/** Lion, in a worker. */
export class Lion extends RemoteOptimizer<LionOptions> {}

/** Muon, with AdamW for the groups that it is not for, in a worker. */
export class Muon extends RemoteOptimizer<MuonOptions> {}

/** Adafactor, in a worker. */
export class Adafactor extends RemoteOptimizer<AdafactorOptions> {}

function groupsOf<Options>(of: RemoteParameters<Options>): readonly RemoteGroup<Options>[] {
  if (of instanceof RemoteModel) return [{ model: of } as RemoteGroup<Options>]
  const groups = Array.isArray(of)
    ? of.map((group) => (isRecord(group) ? { ...group } : group))
    : []
  if (groups.length > 0 && groups.every((group) => group?.model instanceof RemoteModel))
    return groups
  throw new XTransformersError(
    'invalid_argument',
    'an optimizer in a worker needs a model of that worker, or groups [{ model, params: names, lr }]',
  )
}

function wireGroup(
  { model, params, ...settings }: RemoteGroup<object>,
  connection: Connection,
  what: string,
): WireGroup {
  const remote = model[REMOTE]
  // refuses a model of another worker
  packArguments([model], connection, `${what}.model`)
  const names = params ? checkIterable(params, `${what}.params`, 'names') : null
  return { model: remote.id, params: names, settings: packOne(settings, connection, what) }
}

const packOne = (options: object, connection: Connection, what: string) =>
  packArguments([options], connection, what).value[0]
