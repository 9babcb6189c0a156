import { distance, closest as nearest } from 'fastest-levenshtein'

/** The known name that was probably meant; null where none is near. */
export function closest(name: string, known: readonly string[]): string | null {
  if (known.length === 0) return null
  const found = nearest(name, known)
  return distance(name, found) <= Math.ceil(name.length / 3) ? found : null
}
