import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions } from '../checks.js'
import type { LoraLayers } from '../module/submodule.js'
import { checkLoRA, type LoRAOptions } from '../train/lora-options.js'
import type { Connection } from './client.js'
import { RemoteCompanion } from './companion.js'
import { callRemote } from './remote.js'
import type { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { packArguments, REMOTE } from './values.js'

/** The file that updates are in, and what it does not say of them. */
interface UpdatesFile {
  settings: object
  source: { value: unknown; transfer: object[] }
}

/**
 * Low-rank updates of a model in a worker, as `LoRA` of the main library: its file has the matrices
 * alone. They are parameters of the model; after `dispose()` they still are.
 */
export class RemoteLoRA extends RemoteCompanion {
  /** @internal `file`: in place of options. */
  constructor(
    connection: Connection,
    model: RemoteModel,
    options: LoRAOptions = {},
    file?: UpdatesFile,
  ) {
    const settings = file ? file.settings : checkLoRA(options)
    const { value, transfer } = file?.source ?? { value: undefined, transfer: [] }
    const source = file ? { source: value } : {}
    super(connection, model, ['lora', 'a LoRA'], { options: settings, ...source }, transfer)
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
