import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import { Promises } from '../promises.js'
import type { Connection } from './client.js'
import type { Id, Operations } from './protocol.js'
import { callRemote, RemoteObject, saveRemote } from './remote.js'
import { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { REMOTE } from './values.js'

type Kind = 'ema' | 'lora'

/** What the worker is asked to make, with what goes there for good; or what it has already. */
export type Origin =
  | { kind: Kind; settings: Omit<Operations[Kind][0], 'object' | 'model'>; transfer?: object[] }
  | { there: Id }

/**
 * The number of a model of this worker.
 *
 * @param what errors call that which it is for
 * @throws XTransformersError (`invalid_argument`) where it is none
 */
export function idOfModel(connection: Connection, model: RemoteModel, what: string): Id {
  if (model instanceof RemoteModel && model[REMOTE].connection === connection)
    return model[REMOTE].id
  const message = `the model of ${what} must be one of this worker, got ${describeValue(model)}`
  throw new XTransformersError('invalid_argument', message)
}

/** What belongs to a model in a worker, and has a file of its own. */
export abstract class RemoteCompanion extends RemoteObject {
  /** Resolves to this object once it is there. */
  readonly ready: Promise<this>

  /** @internal `what`: what errors call it. */
  constructor(connection: Connection, model: RemoteModel, what: string, origin: Origin) {
    const of = idOfModel(connection, model, what)
    const id = 'there' in origin ? origin.there : connection.next()
    super(connection, id, model)
    if ('there' in origin) {
      this.ready = Promises.resolve(this)
      return
    }
    const { kind, settings, transfer = [] } = origin
    const params = { object: id, model: of, ...settings }
    this.ready = connection.request(kind, params, { transfer }).then(() => this)
    this.ready.catch(() => {})
  }

  /** The bytes of its file, which `load` reads. */
  saveBytes(): Promise<Uint8Array> {
    return callRemote(this[REMOTE], 'saveBytes', [])
  }

  /** Writes its file from the worker, as {@link saveBytes}. */
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
}
