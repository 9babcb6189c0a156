import wandb from '@wandb/sdk'
import type { Logger } from 'x-transformers/train'

/** Where a run goes. */
export interface WandbOptions {
  project: string
  /** Absent: Weights & Biases gives it one. */
  name?: string
}

/** Tells Weights & Biases what a run does. Its key is taken from WANDB_API_KEY. */
export function wandbLogger(options: WandbOptions): Logger {
  let started = false
  return {
    async start(run) {
      await wandb.init({ ...options, config: run })
      started = true
    },
    log(event) {
      if (event.type === 'step') {
        const { step, loss, lr, grad_norm, tokens_per_second, grad_norms } = event
        const layers = Object.entries(grad_norms ?? {})
        const norms = layers.map(([layer, norm]) => [`grad_norms/${layer}`, norm])
        const values = { loss, lr, tokens_per_second, ...(grad_norm !== null && { grad_norm }) }
        wandb.log({ ...values, ...Object.fromEntries(norms) }, step)
      }
      if (event.type === 'evaluation') wandb.log({ 'eval/loss': event.loss }, event.step)
      if (event.type === 'sample') wandb.log({ sample: event.text }, event.step)
    },
    async close() {
      if (started) await wandb.finish()
    },
  }
}
