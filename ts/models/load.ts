import { checkOptions } from '../checks.js'
import { type ReadOptions, throwIfAborted } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import { readSource, readSourceSync } from '../io/reading.js'
import { Index } from '../io/shards.js'
import type { Source, SyncSource } from '../io/sources.js'
import type { Module } from '../module/module.js'
import type { ModuleDescription, NativeModule } from '../native/native.js'
import { getDefaultDevice } from '../tensor/default-device.js'
import { checkDevice, type Device } from '../tensor/device.js'
import * as models from './index.js'
import type { NativeModel } from './native-model.js'
import { LoadedNative } from './native-weights.js'

/** Options of {@link load}. */
export interface LoadOptions extends ReadOptions {
  /**
   * Where the weights shall be.
   *
   * @default what `setDefaultDevice` has chosen, else 'cpu'
   */
  device?: Device | undefined
}

/** A loaded model as its class, the models within too. */
function rebuild(loaded: NativeModule): NativeModel {
  const { class: name, options } = JSON.parse(guarded(() => loaded.describe())) as ModuleDescription
  const Class = (models as unknown as Record<string, new (adopted: LoadedNative) => NativeModel>)[
    name
  ]
  if (!Class)
    throw new XTransformersError(
      'invalid_checkpoint',
      `the checkpoint holds a ${name}, which this version does not know`,
    )
  const inner = Object.keys(options).filter((key) => isModel(options[key]))
  return new Class(
    new LoadedNative(
      loaded,
      new Map(inner.map((key) => [key, rebuild(guarded(() => loaded.child(key)))])),
    ),
  )
}

/** Whether an option stands for a model: `{ class, options }`. */
const isModel = (option: unknown) =>
  typeof (option as { class?: unknown } | null)?.class === 'string'

/**
 * Rebuilds a whole model from a checkpoint that `save`, `saveBlob` or `saveBytes` has made.
 *
 * @param source a path (Node), an address, a File, the bytes of the file ...: see {@link Source}
 * @throws XTransformersError (`file`, `invalid_checkpoint`)
 * @example
 * const model = await load<AutoregressiveWrapper>('moby-dick.safetensors')
 * @example
 * const model = await load(new URL('https://example.org/moby-dick.safetensors'), {
 *   on_progress: ({ loaded, total }) => console.log(`${loaded} of ${total ?? '?'} bytes`),
 * })
 */
export async function load<M extends Module = Module>(
  source: Source,
  options: LoadOptions = {},
): Promise<M> {
  const { device, ...reading } = checkOptions(options, 'load()', [
    'device',
    'signal',
    'on_progress',
  ])
  const target = checkDevice(device ?? getDefaultDevice())
  const loaded = modelIn(await readSource(source, WHOLE, reading, (reader) => reader.model(target)))
  if (reading.signal?.aborted) loaded.dispose()
  throwIfAborted(reading.signal)
  return rebuild(loaded) as Module as M
}

/** How a checkpoint of a whole model is read. */
const WHOLE = { key: null, widen: true, optimizer: false }

function modelIn(loaded: NativeModule | Index): NativeModule {
  if (!(loaded instanceof Index)) return loaded
  throw new XTransformersError(
    'invalid_checkpoint',
    'this is the index of a checkpoint in several files, which does not say which model it is for: build the model with its constructor, then use loadWeights',
  )
}

/** As {@link load}, at once: of a path (Node) or of bytes. */
export function loadSync<M extends Module = Module>(
  source: SyncSource,
  options: Pick<LoadOptions, 'device'> = {},
): M {
  const { device } = checkOptions(options, 'loadSync()', ['device'])
  const target = checkDevice(device ?? getDefaultDevice())
  return rebuild(
    modelIn(readSourceSync(source, WHOLE, (reader) => reader.modelSync(target))),
  ) as Module as M
}
