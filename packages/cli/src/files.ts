/** What the files in the folder of a run are called. */
export const FILES = {
  /** The configuration, with all that was decided. */
  config: 'config.json',
  tokenizer: 'tokenizer.json',
  /** The model of a run, or of a checkpoint. */
  model: 'model.safetensors',
  /** The model of a checkpoint with averaged weights. */
  averages: 'ema.safetensors',
  /** The low-rank updates alone, of a run or of a checkpoint with `train.lora`. */
  adapter: 'adapter.safetensors',
  metrics: 'metrics.jsonl',
  report: 'report.html',
  /** The folder with TensorBoard's files. */
  tensorboard: 'tensorboard',
} as const
