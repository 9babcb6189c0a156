import { AdamW, type AutoregressiveWrapper, cosineWarmup, noGrad, trainStep } from 'x-transformers'
import type { Corpus } from './corpus.js'

export interface TrainSettings {
  /** How long to train; with `steps`, that many steps instead. */
  seconds: number
  steps?: number
  batch: number
  length: number
  lr: number
}

export interface Progress {
  step: number
  /** Of the time or of the steps, from 0 to 1. */
  share: number
  /** Seconds since the start, validation included. */
  seconds: number
  loss: number
  valLoss: number
  tokensPerSecond: number
}

export interface Run extends Progress {
  /** The loss of every step. */
  losses: number[]
  /** Validation losses with the step before which they were measured. */
  valLosses: [step: number, loss: number][]
}

const VALIDATIONS = 20

export const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length

/** Mean loss per character on held-out text; on all of it unless `count` windows are enough. */
export async function validate(
  model: AutoregressiveWrapper,
  corpus: Corpus,
  settings: TrainSettings,
  count?: number,
) {
  model.eval()
  let total = 0
  let rows = 0
  for (const batch of corpus.heldOutBatches(settings.batch, settings.length, count)) {
    const loss = await noGrad(() => model.forward(batch))
    const size = batch.shape[0] as number
    total += (loss.item() as number) * size
    rows += size
    loss.dispose()
    batch.dispose()
  }
  model.train()
  return total / rows
}

/** Brings what is known of a run up to date after a step. */
function update(run: Run, start: number, settings: TrainSettings): void {
  run.seconds = (performance.now() - start) / 1000
  // The time is over when another step would not fit into it.
  const lastStart = Math.max(settings.seconds - run.seconds / run.step, 1e-3)
  run.share = settings.steps ? run.step / settings.steps : run.seconds / lastStart
  run.loss = mean(run.losses.slice(-50))
  run.tokensPerSecond = (run.step * settings.batch * settings.length) / run.seconds
}

/** Trains until the time is over or `stopped` says so. */
export async function train(
  model: AutoregressiveWrapper,
  corpus: Corpus,
  settings: TrainSettings,
  onProgress: (progress: Progress) => void,
  stopped: () => boolean,
): Promise<Run> {
  const { lr, batch: rows, length } = settings
  const optimizer = new AdamW(model.parameters(), { lr, betas: [0.9, 0.99], weight_decay: 0.1 })
  // Nobody knows how many steps fit into the time. So the rate follows the share of the time that
  // has passed: the schedule is one of 1,000 steps, and the run is at step `1000 * share` of it.
  const schedule = cosineWarmup({ lr, warmup_steps: 40, total_steps: 1000, min_lr: lr / 50 })
  const progress = { step: 0, share: 0, seconds: 0, loss: 0, valLoss: 0, tokensPerSecond: 0 }
  const run: Run = { ...progress, losses: [], valLosses: [] }
  const start = performance.now()

  const measure = async () => {
    run.valLoss = await validate(model, corpus, settings, rows * 2)
    run.valLosses.push([run.step, run.valLoss])
  }
  await measure()
  while (run.share < 1 && !stopped()) {
    optimizer.lr = schedule(1000 * run.share)
    const batch = corpus.batch(rows, length)
    const { loss } = await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })
    batch.dispose()
    run.losses.push(loss)
    run.step++

    const next = run.valLosses.length / VALIDATIONS
    if (next < 1 && run.share >= next) await measure()
    update(run, start, settings)
    onProgress(run)
  }
  return run
}
