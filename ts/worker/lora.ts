import { BRAND, type Brand, brand } from '../brand.js'
import { checkFlag, checkOptions } from '../checks.js'
import type { LoRALayers } from '../module/submodule.js'
import { checkLoRA, type LoRAOfOptions, type LoRAOptions } from '../train/lora-options.js'
import type { Connection } from './client.js'
import { idOfModel, type Origin, RemoteCompanion } from './companion.js'
import { callRemote } from './remote.js'
import type { RemoteModel } from './remote-model.js'
import { packSource, type WorkerSource } from './source.js'
import { packArguments, REMOTE } from './values.js'

/**
 * Low-rank updates of a model in a worker, as `LoRA` of the main library: its file has the matrices
 * alone. They are parameters of the model; after `dispose()` they still are. Names, rank and factor
 * are given by `describe()`, the matrices by `stateDict()` of the model.
 */
export class RemoteLoRA extends RemoteCompanion {
  /** @internal `origin`: in place of options. */
  constructor(
    connection: Connection,
    model: RemoteModel,
    options: LoRAOptions = {},
    origin?: Origin,
  ) {
    const made = () => ({ kind: 'lora' as const, settings: { options: checkLoRA(options) } })
    super(connection, model, 'a LoRA', origin ?? made())
  }

  /** The names of the layers, the rank and the factor of the updates. */
  describe(): Promise<LoRALayers> {
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
  const [options] = packArguments([own], connection, 'the options of LoRA.load()').value
  const { value, transfer } = packSource(source, false)
  const settings = { options, source: value }
  return await new RemoteLoRA(connection, model, {}, { kind: 'lora', settings, transfer }).ready
}

/** The updates that a model has. */
export async function lorasOf(
  connection: Connection,
  model: RemoteModel,
  given: LoRAOfOptions,
): Promise<RemoteLoRA[]> {
  const { freeze } = checkOptions(given, 'LoRA.of()', ['freeze'])
  const params = {
    model: idOfModel(connection, model, 'LoRA.of()'),
    freeze: checkFlag(freeze, 'freeze', false),
  }
  const there = await connection.request('lorasOf', params)
  return there.map((id) => new RemoteLoRA(connection, model, {}, { there: id }))
}
