import { join } from 'node:path'
import type { EvalSettings } from '../commands/eval.js'
import { checkConfig } from '../config/check.js'
import type { Config } from '../config/schema.js'
import { Interrupted, UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { count } from '../format.js'
import { Interrupt } from '../interrupt.js'
import { readJson } from '../json.js'
import { Output } from '../output.js'
import { applyRuntime } from '../runtime.js'
import { measureLoss } from '../text/measure.js'
import { readTokens } from '../text/tokens.js'
import { readCorpus } from '../train/data.js'
import { runOf } from './files.js'
import { type Opened, openModel } from './open.js'

/** Measures a model on text: `x-transformers eval`. */
export async function evaluate(path: string, settings: EvalSettings): Promise<void> {
  const output = new Output(settings.json)
  applyRuntime(settings)
  const interrupt = new Interrupt()
  const { signal } = interrupt
  const opened = await openModel(path)
  const config = configOf(opened.file)
  const tokens = await tokensOf(opened, settings, config, signal)
  const length = Math.min(
    settings.length ?? config?.train.length ?? opened.max_seq_len,
    opened.max_seq_len,
  )
  const start = performance.now()
  try {
    const measuring = { length, batch_size: settings.batchSize, signal }
    const measured = await measureLoss(opened.model, tokens, measuring)
    const seconds = (performance.now() - start) / 1000
    const { loss } = measured
    const numbers = { perplexity: Math.exp(loss), bits_per_token: loss / Math.LN2 }
    output.result(
      { model: opened.file, ...measured, ...numbers, length, seconds },
      `loss ${loss.toFixed(4)} nats per token, ${numbers.bits_per_token.toFixed(4)} bits, perplexity ${numbers.perplexity.toFixed(3)}\non ${count(measured.tokens)} tokens in rows of ${length}`,
    )
  } catch (error) {
    if (interrupt.requested) throw new Interrupted('')
    throw error
  }
}

/** The configuration of the run that a model is of; null where it is of none. */
function configOf(model: string): Config | null {
  const run = runOf(model)
  if (run === null) return null
  const path = join(run, FILES.config)
  return checkConfig(readJson(path, 'the configuration'), path)
}

/** The text that is asked for, or what the run has held out. */
async function tokensOf(
  { tokenizer, file }: Opened,
  { data, field, dtype }: EvalSettings,
  config: Config | null,
  signal: AbortSignal,
) {
  const own = config?.data
  if (data) {
    const reading = {
      field: field ?? own?.field ?? 'text',
      dtype: dtype ?? own?.dtype ?? 'u16',
      separator: own?.separator,
    }
    return await readTokens(data, tokenizer, reading, signal)
  }
  if (!own) throw new UsageError(`${file} is of no run that has held out text: give --data FILE`)
  const { validation } = await readCorpus(own, tokenizer, signal)
  if (validation) return validation
  throw new UsageError('the run has held out no text: give --data FILE')
}
