import { BRAND, type Brand, brand } from '../brand.js'
import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import { checkEMA, type EMAOptions } from '../train/ema-options.js'
import type { EngineAverages } from '../train/engine.js'
import type { Connection } from './client.js'
import { callRemote, RemoteObject, saveRemote } from './remote.js'
import { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { REMOTE } from './values.js'

/**
 * Averages of the weights of a model in a worker, as `EMA` of the main library. `dispose()` frees
 * them; the model stays.
 */
export class RemoteEMA extends RemoteObject implements EngineAverages {
  /** Resolves to the averages once they are there. */
  readonly ready: Promise<this>
  readonly decay: number
  readonly warmup: boolean

  /** @internal */
  constructor(connection: Connection, model: RemoteModel, options: EMAOptions = {}) {
    const { decay, warmup } = checkEMA(options)
    if (!(model instanceof RemoteModel) || model[REMOTE].connection !== connection) {
      const message = `the model of an EMA must be one of this worker, got ${describeValue(model)}`
      throw new XTransformersError('invalid_argument', message)
    }
    const id = connection.next()
    super(connection, id, model)
    this.decay = decay
    this.warmup = warmup
    const params = { object: id, model: model[REMOTE].id, options: { decay, warmup } }
    this.ready = connection.request('ema', params).then(() => this)
    this.ready.catch(() => {})
  }

  /** The number of updates so far. */
  updates(): Promise<number> {
    return callRemote(this[REMOTE], 'updates', [])
  }

  /** Moves the averages towards the weights. */
  update(): Promise<void> {
    return callRemote(this[REMOTE], 'update', [])
  }

  /** Puts the averages in the place of the weights, which are kept for {@link restore}. */
  apply(): Promise<void> {
    return callRemote(this[REMOTE], 'apply', [])
  }

  /** Puts the weights back. */
  restore(): Promise<void> {
    return callRemote(this[REMOTE], 'restore', [])
  }

  /** Copies the averages into the model for good. */
  copyTo(): Promise<void> {
    return callRemote(this[REMOTE], 'copyTo', [])
  }

  /** The bytes of a file with the averages as the weights of the model, which `load` reads. */
  saveBytes(): Promise<Uint8Array> {
    return callRemote(this[REMOTE], 'saveBytes', [])
  }

  /** Writes the averages from the worker, as {@link saveBytes}. */
  save(target: Target): Promise<void> {
    return saveRemote(this[REMOTE], target)
  }

  /**
   * Puts back what `save` or `saveBytes` has made, to go on from it.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`)
   */
  async load(source: WorkerSource): Promise<void> {
    const { connection, id } = this[REMOTE]
    const { value, transfer } = packSource(source, false)
    await connection.request('call', { object: id, method: 'load', args: [value] }, { transfer })
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand('an EMA in a worker', true)
  }
}
