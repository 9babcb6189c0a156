import { describeValue, ignoreRejection, isThenable } from '../checks.js'
import type { CallControl } from '../control.js'
import { guarded, guardedAsync, XTransformersError } from '../errors.js'
import type { NativeAbortFlag, NativeGeneration, NativeTensor } from '../native/native.js'
import { HANDLE, SELF } from '../symbols.js'
import { noGrad } from '../tensor/grad-mode.js'
import { tidy } from '../tensor/memory.js'
import { noteKnown } from '../tensor/pending.js'
import { NO_GATES, scheduleSync } from '../tensor/schedule.js'
import { Tensor, wrap } from '../tensor/tensor.js'
import { checkArguments } from './encode.js'
import type { PreparedCall } from './native-model.js'
import { Stepwise } from './stepwise.js'

/** A filter of one's own. */
export type LogitsFilter = (logits: Tensor) => Tensor

interface Sampling extends CallControl {
  filter_logits_fn?: string | LogitsFilter | null | undefined
}

/** How likely a model holds sequences to be. */
export interface Score {
  /**
   * The logarithm of the probability of each token but the first, given those before it: (batch,
   * length - 1). 0 for tokens that do not count: those that are `ignore_index`, and those that are
   * not real or stand behind one that is not, where there is a `mask`.
   */
  log_probs: Tensor
  /**
   * Of each row, (batch): e to the mean of the negative log-probabilities that count. NaN for a row
   * in which none does.
   */
  perplexity: Tensor
}

/**
 * Models over tokens that write on: `generate` and `stream`, with the filter as a name or as a
 * function.
 */
export abstract class Generative<Options> extends Stepwise<Options> {
  protected generateTokens(positional: readonly unknown[], options?: Sampling): Promise<Tensor> {
    return noteKnown(this[SELF].#generate(positional, options))
  }

  /**
   * Step by step: an abort is seen between two of them, also where a computation lets nothing
   * through (WebAssembly).
   */
  async #generate(positional: readonly unknown[], given: Sampling | undefined): Promise<Tensor> {
    const options = checkArguments(given, 'generate')
    const filter = ownFilter(options)
    const call = this.prepare('generate', positional, options)
    const run = async (abort: NativeAbortFlag) => {
      const generation = this[SELF].#start('generate', call)
      try {
        while (!guarded(() => generation.done())) {
          if (filter) accept(generation, await guardedAsync(() => generation.logits(abort)), filter)
          else await guardedAsync(() => generation.advance(abort))
        }
        return wrap(guarded(() => generation.tokens()))
      } finally {
        generation.dispose()
      }
    }
    return this.heavySteps(call, run, (tokens) => tokens.dispose())
  }

  protected generateTokensSync(positional: readonly unknown[], given?: Sampling): Tensor {
    const options = checkArguments(given, 'generateSync')
    const filter = ownFilter(options)
    if (!filter) return this.callSync('generate', positional, options)
    const call = this.prepare('generate', positional, options)
    return this[SELF].#generateNow(call, filter)
  }

  #generateNow(call: PreparedCall, filter: LogitsFilter): Tensor {
    const run = () => {
      const generation = this[SELF].#start('generate', call)
      try {
        while (!guarded(() => generation.done())) {
          accept(
            generation,
            guarded(() => generation.logitsSync()),
            filter,
          )
        }
        return wrap(guarded(() => generation.tokens()))
      } finally {
        generation.dispose()
      }
    }
    try {
      return scheduleSync('generateSync()', call.reads, NO_GATES, run)
    } finally {
      call.encoded.free()
    }
  }

  protected streamTokens(
    positional: readonly unknown[],
    given?: Sampling,
  ): AsyncIterable<number | number[]> {
    const options = checkArguments(given, 'stream')
    const filter = ownFilter(options)
    const call = this.prepare('stream', positional, options)
    // Whoever reads slowly may dispose the prompt before the first token is asked for.
    for (const tensor of call.encoded.tensors) tensor.pin()
    call.encoded.free()
    return this[SELF].#tokens(call, filter)
  }

  /** Between two tokens the weights are free, so that the reader may train on. */
  async *#tokens(
    call: PreparedCall,
    filter: LogitsFilter | null,
  ): AsyncGenerator<number | number[]> {
    let generation: NativeGeneration
    // its tensors are pinned, and may have been disposed since
    const step: PreparedCall = { ...call, encoded: { ...call.encoded, tensors: [] } }
    try {
      generation = await this.heavy(step, async () => this[SELF].#start('stream', call))
    } finally {
      for (const tensor of call.encoded.tensors) tensor.unpin()
    }
    try {
      while (!guarded(() => generation.done())) {
        const logits = await this.heavy(
          step,
          (abort) => generation.logits(abort),
          (unwanted) => unwanted.dispose(),
        )
        const tokens = accept(generation, logits, filter)
        if (tokens === null) return
        // the addon's array may be of another realm
        yield tokens.length === 1 ? (tokens[0] as number) : Array.from(tokens)
      }
    } finally {
      generation.dispose()
    }
  }

  #start(method: 'generate' | 'stream', { encoded, context }: PreparedCall): NativeGeneration {
    const tensors = encoded.tensors.map((handle) => handle.pinned())
    return guarded(() => this.native().generation(method, encoded.json, tensors, context))
  }
}

/** The filter that runs here; the native side is told that there is one. */
function ownFilter({ filter_logits_fn: filter }: Sampling): LogitsFilter | null {
  return typeof filter === 'function' ? filter : null
}

/** Filters the logits, chooses the next tokens, and frees both. */
function accept(
  generation: NativeGeneration,
  native: NativeTensor,
  filter: LogitsFilter | null,
): number[] | null {
  if (!filter) {
    try {
      return guarded(() => generation.accept(native, false))
    } finally {
      native.dispose()
    }
  }
  // what the filter has made ends with it; what it had before, such as a mask that it gives each
  // time, is the caller's
  return tidy(() => {
    const logits = wrap(native)
    const filtered = noGrad(() => checked(filter(logits), logits))
    const allowed = filtered[HANDLE].use()
    return guarded(() => generation.accept(allowed, true))
  })
}

function checked(filtered: unknown, logits: Tensor): Tensor {
  if (!(filtered instanceof Tensor)) {
    if (isThenable(filtered)) ignoreRejection(filtered)
    throw new XTransformersError(
      'invalid_argument',
      `filter_logits_fn must return a Tensor, got ${describeValue(filtered)}`,
    )
  }
  if (String(filtered.shape) === String(logits.shape)) return filtered
  throw new XTransformersError(
    'invalid_tensor',
    `filter_logits_fn must return logits of shape [${logits.shape}], got [${filtered.shape}]`,
  )
}
