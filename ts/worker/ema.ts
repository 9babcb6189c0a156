import { BRAND, type Brand, brand } from '../brand.js'
import { checkEMA, type EMAOptions } from '../train/ema-options.js'
import type { EngineAverages } from '../train/engine.js'
import type { Connection } from './client.js'
import { RemoteCompanion } from './companion.js'
import { callRemote } from './remote.js'
import type { RemoteModel } from './remote-model.js'
import { REMOTE } from './values.js'

/**
 * Averages of the weights of a model in a worker, as `EMA` of the main library: its file has them
 * as the weights of the model. `dispose()` frees them; the model stays, and gets its weights back
 * where it has the averages, unless it was quantized since: then it keeps the averages.
 */
export class RemoteEMA extends RemoteCompanion implements EngineAverages {
  readonly decay: number
  readonly warmup: boolean

  /** @internal */
  constructor(connection: Connection, model: RemoteModel, options: EMAOptions = {}) {
    const { decay, warmup } = checkEMA(options)
    super(connection, model, 'an EMA', { kind: 'ema', settings: { options: { decay, warmup } } })
    this.decay = decay
    this.warmup = warmup
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

  /** @internal */
  get [BRAND](): Brand {
    return brand('an EMA in a worker', true)
  }
}
