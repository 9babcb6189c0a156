/** What the native methods take and return, besides objects. */

export type DType = 'f32' | 'f64' | 'f16' | 'bf16' | 'i64' | 'u8' | 'bool'

/**
 * What a call needs to know besides its arguments, as JSON:
 * `{ "seed": number, "call": number, "grad": boolean }`. `seed` and `call` choose the random
 * numbers: a call takes its number when it is made, so that neither scheduling nor threads change a
 * result. `grad`: whether the call keeps a graph for backward.
 */
export type ContextJson = string

/** Set by an AbortSignal; every heavy call polls it, and then rejects with code `aborted`. */
export interface NativeAbortFlag {
  set(): void
}
