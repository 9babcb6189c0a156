import { expect, it } from 'vitest'
import type { Results } from './program.mjs'

/** Tolerance for gradients, relative to their size. */
const relative = (value: number) => Math.max(1, Math.abs(value))
const absolute = () => 1

/** The largest difference; infinite if a value is not finite. */
function difference(
  got: readonly number[],
  want: readonly number[],
  scale: (value: number) => number = absolute,
) {
  expect(got.length).toBe(want.length)
  let most = 0
  for (const [i, value] of want.entries()) {
    const far = Math.abs((got[i] as number) - value) / scale(value)
    most = Math.max(most, Number.isFinite(far) ? far : Number.POSITIVE_INFINITY)
  }
  return most
}

/** Checks that both have the same names, and pairs the values. */
function pairs<T>(
  got: Record<string, T>,
  want: Record<string, T>,
): [name: string, got: T, want: T][] {
  expect(Object.keys(got)).toEqual(Object.keys(want))
  expect(Object.keys(got).length).toBeGreaterThan(0)
  return Object.entries(want).map(([name, value]) => [name, got[name] as T, value])
}

/** Names whose values differ by more than `tolerance`. */
function differing(
  got: Record<string, number[]>,
  want: Record<string, number[]>,
  tolerance: number,
  scale?: (value: number) => number,
): string[] {
  const found = pairs(got, want).map(([name, a, b]): [string, number] => [
    name,
    difference(a, b, scale),
  ])
  return found.filter(([, far]) => far > tolerance).map(([name, far]) => `${name}: ${far}`)
}

const pick = <T, K extends keyof T>(from: Record<string, T>, key: K) =>
  Object.fromEntries(Object.entries(from).map(([name, value]) => [name, value[key]])) as Record<
    string,
    T[K]
  >

/**
 * The tests that `got`, computed by WebAssembly, equals the result of the native addon for the same
 * seed.
 */
export function testEquality(get: () => { got: Results; want: Results }): void {
  it('compares WebAssembly with the native addon', () => {
    const { got, want } = get()
    expect([got.target, want.target]).toEqual(['wasm', 'native'])
  })

  it('draws the same random bits, and normals within 1e-6', () => {
    const { got, want } = get()
    expect(differing(got.draws.bits, want.draws.bits, 0)).toEqual([])
    expect(differing(got.draws.normals, want.draws.normals, 1e-6)).toEqual([])
  })

  it('has the same initial weights within 1e-6', () => {
    const { got, want } = get()
    for (const [name, a, b] of pairs(got.weights, want.weights))
      expect(differing(a, b, 1e-6), name).toEqual([])
  })

  it('drops the same elements', () => {
    const { got, want } = get()
    for (const [name, mask, expected] of pairs(got.masks, want.masks)) {
      const kept = expected.reduce((sum, bit) => sum + bit, 0) / expected.length
      expect(Math.abs(kept - 0.6), `${name} lets 60 % through, not ${kept}`).toBeLessThan(0.1)
      expect(mask, name).toEqual(expected)
    }
  })

  it('has the same losses over 20 steps within 1e-4', () => {
    const { got, want } = get()
    expect(differing(pick(got.losses, 'losses'), pick(want.losses, 'losses'), 1e-4)).toEqual([])
    expect(
      differing(pick(got.losses, 'norms'), pick(want.losses, 'norms'), 1e-4, relative),
    ).toEqual([])
  })

  it('generates the same tokens, and nearly the same vectors', () => {
    const { got, want } = get()
    for (const [name, tokens, expected] of pairs(got.tokens, want.tokens)) {
      expect(new Set(expected).size, `${name} is monotonous`).toBeGreaterThan(1)
      expect(tokens, name).toEqual(expected)
    }
    expect(difference(got.vectors, want.vectors)).toBeLessThan(1e-4)
  })
}
