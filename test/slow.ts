// Tests that take long and seldom fail: `npm test` leaves them out, and
// `npm run release:check -- slow` runs them (scripts/slow.mjs). They are not even defined, so that
// none counts as passed or as skipped.
import { describe, inject, it } from 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    slow: boolean
  }
}

/** Whether slow tests run. */
export const SLOW = inject('slow')

const nothing = Object.assign(() => {}, { each: () => () => {} })

/** Defines tests that are slow. */
export const slow = (SLOW ? { describe, it } : { describe: nothing, it: nothing }) as {
  describe: typeof describe
  it: typeof it
}

/** Cases, without the slow ones where slow tests do not run; `names` are the others. */
export const often = <T, Name extends string>(
  cases: Record<Name, T>,
  names: readonly NoInfer<Name>[],
): [Name, T][] =>
  (Object.entries(cases) as [Name, T][]).filter(([name]) => SLOW || names.includes(name))
