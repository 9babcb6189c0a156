import { say } from '../lib.mjs'

/** The largest difference of nested lists of numbers; infinite where their shapes differ. */
function difference(a, b) {
  if (typeof a === 'number' && typeof b === 'number') {
    const gap = Math.abs(a - b)
    return Number.isNaN(gap) ? Infinity : gap
  }
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return Infinity
  return a.reduce((most, one, i) => Math.max(most, difference(one, b[i])), 0)
}

/** Counts what is as expected, and keeps what is not. */
export class Checks {
  #passed = 0
  #failures = []

  /** That something is true. */
  that(good, what) {
    if (good) this.#passed++
    else this.#failures.push(what)
    say(`${good ? 'ok' : 'FAILED'}: ${what}`)
  }

  /** That nested lists of numbers differ by `tolerance` at most. */
  near(actual, expected, tolerance, what) {
    const gap = difference(actual, expected)
    const allowed = `${tolerance.toExponential(0)} at most`
    this.that(gap <= tolerance, `${what}: differs by ${gap.toExponential(1)}, ${allowed}`)
  }

  get counts() {
    const failures = this.#failures
    return { passed: this.#passed, failed: failures.length, skipped: 0, failures }
  }
}
