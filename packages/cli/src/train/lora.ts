/** LoRA in a run: what trains in place of all weights, and the files that have it alone. */
import { join } from 'node:path'
import { LoRA, load, type Module } from 'x-transformers'
import type { Logger } from 'x-transformers/train'
import type { Config } from '../config/schema.js'
import { UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { at } from './at.js'

/**
 * Adds the low-rank updates of a configuration to a model; null where it has none.
 *
 * @throws UsageError where they do not fit the model, or the model is not a trained one
 */
export function addLoRA(model: Module, { init, train }: Config): LoRA | null {
  const { lora } = train
  if (!lora) return null
  if (init === undefined)
    throw new UsageError('train.lora: is for a trained model: name it with init, or --init MODEL')
  return at('train.lora', () => new LoRA(model, lora))
}

/** Writes the updates beside each checkpoint. */
export const adapterLogger = (lora: LoRA): Logger => ({
  async log(event) {
    if (event.type === 'checkpoint') await lora.save(join(event.path, FILES.adapter))
  },
})

/** Writes the updates of a saved model to a file of their own. */
export async function saveAdapter(model: string, file: string): Promise<void> {
  const loaded = await load(model)
  const [lora] = LoRA.of(loaded)
  await lora?.save(file)
  loaded.dispose()
}
