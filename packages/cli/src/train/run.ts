/** A run from its first step to its last: the trainer, what the user sees, and what is kept. */
import {
  type DoneEvent,
  jsonlLogger,
  type Logger,
  type SampleOptions,
  Trainer,
  type TrainerOptions,
  tensorboardLogger,
} from 'x-transformers/train'
import { Interrupted } from '../errors.js'
import { FILES } from '../files.js'
import type { Interrupt } from '../interrupt.js'
import { writeText } from '../model/write.js'
import type { Output } from '../output.js'
import { measure } from '../text/measure.js'
import { writeTokenizer } from '../text/tokenizer.js'
import { RunState } from '../view/state.js'
import { makeView, type View } from '../view/view.js'
import { makeEvaluation, makeLoader } from './data.js'
import type { RunFolder } from './folder.js'
import { adapterLogger, saveAdapter } from './lora.js'
import { makeOptimizer, makeSchedule } from './optimizer.js'
import { reportOf } from './report.js'
import type { Session } from './session.js'

/** What a run has come to. */
export interface Result {
  steps: number
  seconds: number
  train_loss: number
  /** Of the last weights, on all of the held-out text; null where nothing is held out. */
  val_loss: number | null
  /** The lowest loss of the evaluations on the way, and its step. */
  best: { step: number; loss: number } | null
  tokens_per_second: number
  reason: DoneEvent['reason']
  /** The file with the model of the best evaluation, or of the last step. */
  checkpoint: string
  /** The file with the low-rank updates of that model alone; absent without `train.lora`. */
  adapter?: string
}

export interface Running {
  folder: RunFolder
  output: Output
  interrupt: Interrupt
  resume: boolean
  /** What the run is called. */
  title: string
  /** Is given the picture that is to end before the process is. */
  onView?: (view: View) => void
}

/** What of the configuration is the trainer's. */
function trainerOptions(session: Session, running: Running): TrainerOptions {
  const { folder, interrupt, resume } = running
  const { config, steps, model, corpus, length } = session
  const { train } = config
  const isRandom = train.windows === 'random'
  const { every, keep, best } = train.checkpoint
  const optimizer = makeOptimizer(model, train)
  const { validation } = corpus
  return {
    data: makeLoader(corpus.train, length, config),
    optimizer,
    schedule: makeSchedule({ ...train, steps }, optimizer.lr),
    steps: isRandom ? steps : train.steps,
    epochs: isRandom ? undefined : train.epochs,
    seconds: train.seconds,
    grad_accum: train.grad_accum,
    clip: train.clip ?? undefined,
    eval: validation
      ? { data: makeEvaluation(validation, length, config), every: train.eval.every }
      : undefined,
    sample: sampleOptions(session),
    checkpoint: { folder: folder.path, every, keep, best },
    norms: train.norms ?? undefined,
    loggers: loggersOf(session, running),
    early_stop: train.early_stop,
    ema: train.ema,
    resume,
    signal: interrupt.signal,
  }
}

/** Who writes the run down. */
function loggersOf(session: Session, { folder, title }: Running): Logger[] {
  const { report, tensorboard } = session.config.train
  const [metrics, page, records] = [FILES.metrics, FILES.report, FILES.tensorboard].map((name) =>
    folder.file(name),
  ) as [string, string, string]
  return [
    recordOf(session, folder),
    report ? reportOf(session, { metrics, report: page, name: title }) : jsonlLogger(metrics),
    ...(tensorboard ? [tensorboardLogger(records)] : []),
    ...(session.lora ? [adapterLogger(session.lora)] : []),
  ]
}

/**
 * Writes down what a run goes by when it begins: one that cannot be gone on with is left as it was.
 */
function recordOf({ config, tokenizer }: Session, folder: RunFolder): Logger {
  return {
    start() {
      folder.writeConfig(config)
      writeTokenizer(tokenizer, folder.path)
    },
    log() {},
  }
}

function sampleOptions(session: Session): SampleOptions | undefined {
  const { sample } = session.config.train
  if (!sample) return undefined
  const { every, prompt, tokens, temperature } = sample
  const make = async () => {
    const { text } = await writeText(session, { prompt, tokens, temperature })
    return prompt + text
  }
  return { every, make }
}

/** Trains to the end. */
export async function runSession(session: Session, running: Running): Promise<Result> {
  const { folder, output, interrupt, title } = running
  const trainer = new Trainer(session.model, trainerOptions(session, running))
  // all that may be wrong was looked at: the run that this one replaces can go
  folder.clear()
  const state = new RunState(session.steps ?? null)
  const view = makeView(output, state, title)
  running.onView?.(view)
  const done = await trainer
    .run((event) => {
      state.hear(event)
      view.hear(event)
    })
    .finally(() => view.stop())
  const checkpoint = folder.publish(done, session.config.train.ema !== undefined)
  const adapter = folder.file(FILES.adapter)
  if (session.lora) await saveAdapter(checkpoint, adapter)
  // what is measured is what is kept
  await trainer.ema?.copyTo()
  const val_loss = interrupt.requested ? null : await finalLoss(session, interrupt.signal)
  if (interrupt.requested || done.reason === 'aborted')
    throw new Interrupted(`\nStopped at step ${done.steps}, with a checkpoint in ${folder.path}.`)
  return {
    steps: done.steps,
    seconds: done.seconds,
    train_loss: done.loss,
    val_loss,
    best: done.best,
    tokens_per_second: done.tokens_per_second,
    reason: done.reason,
    checkpoint,
    ...(session.lora && { adapter }),
  }
}

/** The loss on all of the held-out text; null after an interrupt. */
async function finalLoss(session: Session, signal: AbortSignal): Promise<number | null> {
  const { model, corpus, config, length } = session
  if (!corpus.validation) return null
  const { batch_size } = config.train
  try {
    const { loss } = await measure(model, corpus.validation, { length, batch_size, signal })
    return loss
  } catch (error) {
    if (signal.aborted) return null
    throw error
  }
}
