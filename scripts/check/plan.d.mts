export interface Text {
  /** From the root of the repository. */
  path: string
  text: string
}
export interface Crate {
  name: string
  folder: string
  /** The crates of this workspace that it depends on. */
  needs: string[]
  /** Its test programs, beside the unit tests. */
  tests: string[]
}
export interface Plan {
  rustfmt: boolean
  /** `allTargets`: whether tests, examples or benchmarks have changed. */
  crates: { changed: string[]; reached: string[]; programs: string[]; allTargets: boolean }
  generate: boolean
  biome: string[]
  tsc: boolean
  /** `addon` and `dist`: whether they use those. */
  vitest: { addon: boolean; dist: boolean; node: string[]; browser: string[] }
  pages: string[]
}
/** What to check, where `files` have changed; `contents` are those of them that exist. */
export function plan(change: {
  files: string[]
  contents: Text[]
  tests: Text[]
  crates: Crate[]
}): Plan
/** The changed crates, and all that depend on them. */
export function cratesOf(files: string[], crates: Crate[]): { changed: string[]; reached: string[] }
/** The tests of changed modules. */
export function testsNear(modules: Text[], tests: Text[]): string[]
/** The names that a module exports where they are declared. */
export function exportsOf(text: string): string[]
