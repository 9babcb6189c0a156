import { describe } from './data.js'
import { type Problem, problemsError } from './errors.js'

/** What an option that is checked on this side may be. */
export interface Rule {
  default: unknown
  /** In words, for messages. */
  allowed: string
  fits: (value: unknown) => boolean
}

export type Rules = Readonly<Record<string, Rule>>

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)

export const notNegative = (value: number): Rule => ({
  default: value,
  allowed: 'a number from 0',
  fits: (v) => isNumber(v) && v >= 0,
})

export const anyNumber = (value: number): Rule => ({ default: value, allowed: 'a number', fits: isNumber })

export const flag = (value: boolean): Rule => ({
  default: value,
  allowed: 'true or false',
  fits: (v) => typeof v === 'boolean',
})

export const betas = (first: number, second: number): Rule => ({
  default: [first, second],
  allowed: 'two numbers, each from 0 to below 1',
  fits: (v) => Array.isArray(v) && v.length === 2 && v.every((b) => isNumber(b) && b >= 0 && b < 1),
})

/** Every problem of some options. `defaults`: what options that are not given have, where two must go together. */
export function validate(
  rules: Rules,
  options: Readonly<Record<string, unknown>>,
  prefix: string,
  defaults: Readonly<Record<string, unknown>> = {},
): Problem[] {
  const names = Object.keys(rules)
  const problems: Problem[] = []
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    const path = prefix + name
    if (!rule) {
      problems.push({ path, message: 'is not an option here', did_you_mean: nearest(name, names), allowed: null })
    } else if (!rule.fits(value)) {
      problems.push({ path, message: `got ${describe(value)}`, did_you_mean: null, allowed: rule.allowed })
    }
  }
  const all = { ...defaults, ...options } as { nesterov?: boolean; momentum?: number; dampening?: number }
  if (all.nesterov === true && (!all.momentum || all.dampening)) {
    const message = 'needs `momentum` above 0 and `dampening` 0'
    problems.push({ path: `${prefix}nesterov`, message, did_you_mean: null, allowed: null })
  }
  return problems
}

/** Options with their defaults filled in; `undefined` is absent. */
export function withDefaults(subject: string, rules: Rules, options: object): Record<string, unknown> {
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined)
  const problems = validate(rules, Object.fromEntries(given), '')
  if (problems.length > 0) throw problemsError(`${subject} does not take these options`, problems)
  return Object.fromEntries([...Object.entries(rules).map(([name, rule]) => [name, rule.default]), ...given])
}

/** The known name that was probably meant: one that it is a part of, or of which at most a third is different. */
export function nearest(name: string, known: readonly string[]): string | null {
  const part = known.find((k) => k.startsWith(name) || k.endsWith(name))
  if (part) return part
  const [best] = known.map((k) => ({ k, d: distance(name, k) })).sort((a, b) => a.d - b.d)
  return best && best.d <= Math.max(name.length, best.k.length) / 3 ? best.k : null
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
