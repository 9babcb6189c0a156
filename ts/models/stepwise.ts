import { NativeModel } from './native-model.js'

/** Whether generation can keep keys and values between its steps. */
export interface Cacheable {
  /** Whether a step computes its new token alone. */
  cached: boolean
  /** Why each step computes the whole sequence again; null where it does not. */
  reason: string | null
}

/** Models that generate step by step, each step from what came before. */
export abstract class Stepwise<Options> extends NativeModel<Options> {
  /**
   * Whether `generate` keeps keys and values between its steps, where `cache_kv` does not turn it
   * off. What comes out is the same either way, but for rounding. Draws no values.
   *
   * @example
   * const { cached, reason } = model.cacheable
   * if (!cached) console.log(`each new token computes the whole sequence again: ${reason}`)
   */
  get cacheable(): Cacheable {
    const reason = this.described().not_cacheable
    return { cached: reason === null, reason }
  }
}
