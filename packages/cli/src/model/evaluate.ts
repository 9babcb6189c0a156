import { join } from 'node:path'
import type { Tokens } from 'x-transformers/data'
import type { EvalSettings } from '../commands/eval.js'
import { checkConfig } from '../config/check.js'
import type { Config } from '../config/schema.js'
import { Interrupted, UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { count, table } from '../format.js'
import { Interrupt } from '../interrupt.js'
import { readJson } from '../json.js'
import { Output } from '../output.js'
import { applyRuntime } from '../runtime.js'
import { countBytes } from '../text/bytes.js'
import { type Measured, type Measuring, measure } from '../text/measure.js'
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
  const longest = opened.max_seq_len || Number.POSITIVE_INFINITY
  const length = Math.min(settings.length ?? config?.train.length ?? longest, longest)
  if (length === Number.POSITIVE_INFINITY)
    throw new UsageError('give --length: the model has a max_seq_len of 0, so no longest row')
  try {
    const measuring = { length, batch_size: settings.batchSize, signal }
    const result = await measureAll(opened, tokens, measuring)
    output.result({ model: opened.file, ...result, length }, inWords(result, length))
  } catch (error) {
    if (interrupt.requested) throw new Interrupted('')
    throw error
  }
}

/** What is told of a model on a text. */
interface Evaluation extends Measured {
  /** e to the loss: among how many tokens the model hesitates. */
  perplexity: number
  bits_per_token: number
  /** Comparable between tokenizers; null where there is none. */
  bits_per_byte: number | null
  /** Of the text that was predicted; null where there is no tokenizer. */
  bytes: number | null
  seconds: number
  tokens_per_second: number
}

async function measureAll(
  { model, tokenizer }: Opened,
  tokens: Tokens,
  measuring: Measuring,
): Promise<Evaluation> {
  const start = performance.now()
  const measured = await measure(model, tokens, measuring)
  const seconds = (performance.now() - start) / 1000
  const bits = measured.loss / Math.LN2
  const bytes = tokenizer && (await countBytes(tokens, tokenizer, measuring.signal))
  return {
    ...measured,
    perplexity: Math.exp(measured.loss),
    bits_per_token: bits,
    bits_per_byte: bytes ? (bits * measured.tokens) / bytes : null,
    bytes,
    seconds,
    tokens_per_second: measured.tokens / seconds,
  }
}

function inWords(result: Evaluation, length: number): string {
  const { bits_per_byte, bytes, tokens } = result
  const rows: [string, string][] = [
    ['loss', `${result.loss.toFixed(4)} nats per token`],
    ['perplexity', result.perplexity.toFixed(3)],
    ['accuracy', `${(100 * result.accuracy).toFixed(2)} % of the tokens`],
    ['bits per token', result.bits_per_token.toFixed(4)],
    ...(bits_per_byte === null
      ? []
      : [['bits per byte', bits_per_byte.toFixed(4)] as [string, string]]),
  ]
  const of = bytes === null ? '' : ` (${count(bytes)} bytes)`
  const rate = `${count(Math.round(result.tokens_per_second))} a second`
  return `${table(rows)}\non ${count(tokens)} tokens${of} in rows of ${length}, ${rate}`
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
