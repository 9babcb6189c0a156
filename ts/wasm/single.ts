import type { Glue } from './glue.js'
// @ts-expect-error: built by scripts/wasm, without declarations; glue.ts has them
import * as generated from './pkg/single.js'

/** The functions of the builds with one thread. */
export const single = generated as unknown as Glue
