/**
 * Plain values as JSON. JSON.stringify would ask them for a `toJSON` first, which a page may have
 * given to all arrays or objects, as Prototype.js does.
 */
export function jsonOf(value: unknown): string {
  // as JSON.stringify has it: what JSON has no word for is null in an array, and absent in an object
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${Array.from(value, jsonOf).join(',')}]`
  const pairs: string[] = []
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) pairs.push(`${JSON.stringify(key)}:${jsonOf(item)}`)
  }
  return `{${pairs.join(',')}}`
}
