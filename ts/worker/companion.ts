import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import type { Connection } from './client.js'
import type { Operations } from './protocol.js'
import { callRemote, RemoteObject, saveRemote } from './remote.js'
import { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { REMOTE } from './values.js'

type Kind = 'ema' | 'lora'

/** What belongs to a model in a worker, and has a file of its own. */
export abstract class RemoteCompanion extends RemoteObject {
  /** Resolves to this object once it is there. */
  readonly ready: Promise<this>

  /** @internal `what`: what errors call it; `transfer`: what goes to the worker for good. */
  constructor(
    connection: Connection,
    model: RemoteModel,
    [kind, what]: [kind: Kind, what: string],
    settings: Omit<Operations[Kind][0], 'object' | 'model'>,
    transfer: object[] = [],
  ) {
    if (!(model instanceof RemoteModel) || model[REMOTE].connection !== connection) {
      const message = `the model of ${what} must be one of this worker, got ${describeValue(model)}`
      throw new XTransformersError('invalid_argument', message)
    }
    const id = connection.next()
    super(connection, id, model)
    const params = { object: id, model: model[REMOTE].id, ...settings }
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
