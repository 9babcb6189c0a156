import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions, describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Target } from '../io/sources.js'
import type { LoraLayers } from '../module/submodule.js'
import { checkLoRA, type LoRAOptions } from '../train/lora-options.js'
import type { Connection } from './client.js'
import { callRemote, RemoteObject, saveRemote } from './remote.js'
import { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { packArguments, REMOTE } from './values.js'

/** The file that updates are in, and what it does not say of them. */
interface UpdatesFile {
  settings: object
  source: { value: unknown; transfer: object[] }
}

/**
 * Low-rank updates of a model in a worker, as `LoRA` of the main library. The matrices are
 * parameters of the model; after `dispose()` they still are.
 */
export class RemoteLoRA extends RemoteObject {
  /** Resolves to the updates once they are there. */
  readonly ready: Promise<this>

  /** @internal `file`: in place of options. */
  constructor(
    connection: Connection,
    model: RemoteModel,
    options: LoRAOptions = {},
    file?: UpdatesFile,
  ) {
    const settings = file ? file.settings : checkLoRA(options)
    if (!(model instanceof RemoteModel) || model[REMOTE].connection !== connection) {
      const message = `the model of a LoRA must be one of this worker, got ${describeValue(model)}`
      throw new XTransformersError('invalid_argument', message)
    }
    const id = connection.next()
    super(connection, id, model)
    const params = { object: id, model: model[REMOTE].id, options: settings }
    const request = file
      ? connection.request('lora', { ...params, source: file.source.value }, file.source)
      : connection.request('lora', params)
    this.ready = request.then(() => this)
    this.ready.catch(() => {})
  }

  /** The names of the layers, the rank and the factor of the updates. */
  describe(): Promise<LoraLayers> {
    return callRemote(this[REMOTE], 'describe', [])
  }

  /**
   * Adds the updates to the weights, after which the model is one without LoRA that computes the
   * same, up to rounding. What was frozen is thawed.
   */
  merge(): Promise<void> {
    return callRemote(this[REMOTE], 'merge', [])
  }

  /** Takes the updates away: the model computes what it did before them. */
  remove(): Promise<void> {
    return callRemote(this[REMOTE], 'remove', [])
  }

  /** The bytes of a safetensors file with the matrices alone. */
  saveBytes(): Promise<Uint8Array> {
    return callRemote(this[REMOTE], 'saveBytes', [])
  }

  /** Writes the matrices from the worker, as {@link saveBytes}. */
  save(target: Target): Promise<void> {
    return saveRemote(this[REMOTE], target)
  }

  /**
   * Reads values into the matrices, of a file that `save` or `saveBytes` has made of these layers.
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
    return brand('a LoRA in a worker', true)
  }
}

/** The updates of a file, added to a model. */
export async function loadLoRA(
  connection: Connection,
  model: RemoteModel,
  source: WorkerSource,
  given: LoRAOptions,
): Promise<RemoteLoRA> {
  const own = checkOptions(given, 'LoRA.load()', ['lora_alpha', 'use_rslora'])
  const [settings] = packArguments([own], connection, 'the options of LoRA.load()').value
  const file = { settings: settings as object, source: packSource(source, false) }
  return await new RemoteLoRA(connection, model, {}, file).ready
}
