import { relative } from 'node:path'
import type { TrainSettings } from '../commands/train.js'
import { presetNames, readPreset } from '../config/presets.js'
import { readConfig } from '../config/read.js'
import type { Config } from '../config/schema.js'
import { Interrupted, UsageError } from '../errors.js'
import { count, duration, table } from '../format.js'
import { Interrupt } from '../interrupt.js'
import { Output } from '../output.js'
import type { View } from '../view/view.js'
import { RunFolder } from './folder.js'
import type { Result } from './run.js'

/** Trains a model: `x-transformers train`. */
export async function train(file: string | undefined, settings: TrainSettings): Promise<void> {
  const output = new Output(settings.json)
  if (settings.presets) return listPresets(output)
  if (settings.schema) return await printSchema()
  const config = readConfig(file, settings)
  if (settings.dryRun) return output.line(JSON.stringify(config, null, 2))
  const result = await trainConfig(config, settings, output)
  output.result(result, describeResult(result))
}

function listPresets(output: Output): void {
  const rows = presetNames().map((name) => [name, String(readPreset(name).description ?? '')])
  output.result(Object.fromEntries(rows), table(rows))
}

async function printSchema(): Promise<void> {
  const { readFileSync } = await import('node:fs')
  const { schemaPath } = await import('../config/schema-file.js')
  process.stdout.write(readFileSync(schemaPath(), 'utf8'))
}

export interface Training {
  out?: string
  resume?: boolean
  overwrite?: boolean
  device?: string
  threads?: number
  /** What the run is called. */
  title?: string
  /** What the file with the model is called, without its ending. */
  name?: string
}

/** Trains as a configuration says. The library is loaded once nothing is left to complain about. */
export async function trainConfig(
  config: Config,
  settings: Training,
  output: Output,
): Promise<Result> {
  const { out, resume = false } = settings
  if (out === undefined) throw new UsageError('give --out FOLDER, where the run is to be kept')
  if (config.data.files.length === 0)
    throw new UsageError('there is no data: give --data FILE, or data.files in the configuration')
  const { steps, epochs, seconds } = config.train
  if (steps === undefined && epochs === undefined && seconds === undefined)
    throw new UsageError('nothing says when it ends: give --steps, --minutes, or train.epochs')
  const folder = new RunFolder(out, settings)
  let view: View | null = null
  const interrupt = new Interrupt(
    () => (view ?? output).note('ending after this step (Ctrl-C again: at once)'),
    () => view?.stop(),
  )
  const { applyRuntime } = await import('../runtime.js')
  const { prepare } = await import('./session.js')
  const { runSession } = await import('./run.js')
  applyRuntime(settings)
  try {
    const { signal } = interrupt
    const note = (text: string) => output.line(text)
    const session = await prepare(config, folder, { signal, note })
    const { corpus, model, lora, tokenizer } = session
    const trained = lora ? ` (${count(sizeOf(lora.parameters()))} are trained)` : ''
    output.line(
      `${count(model.numParameters)} parameters${trained}, ${count(tokenizer.vocabSize)} tokens in the vocabulary; ${count(corpus.train.length)} tokens to learn from, ${count(corpus.validation?.length ?? 0)} held out.`,
    )
    const title = settings.title ?? out
    const onView = (shown: View) => {
      view = shown
    }
    return await runSession(session, { folder, output, interrupt, resume, title, onView })
  } catch (error) {
    if (interrupt.requested && !(error instanceof Interrupted)) throw new Interrupted('Stopped.')
    throw error
  }
}

/** The number of single weights. */
const sizeOf = (parameters: readonly { readonly shape: readonly number[] }[]) =>
  parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)

/** A path as it is named from here, where that is shorter. */
function shortest(path: string): string {
  const from = relative(process.cwd(), path)
  return from.length < path.length ? from : path
}

/** What a run has come to, for people. */
export function describeResult({
  steps,
  seconds,
  train_loss,
  val_loss,
  checkpoint,
  adapter,
}: Omit<Result, 'best' | 'reason'>): string {
  const held = val_loss === null ? '' : `, on all of the held-out text ${val_loss.toFixed(4)}`
  const alone = adapter === undefined ? '' : `\nThe updates alone: ${shortest(adapter)}`
  return `\n${count(steps)} steps in ${duration(seconds)}: loss ${train_loss.toFixed(4)}${held}.\nThe model: ${shortest(checkpoint)}${alone}`
}
