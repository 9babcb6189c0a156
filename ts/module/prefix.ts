/** What stands before the names in a file. */

/** What PyTorch and this package put before the names of a model. */
const PREFIXES = ['module.', '_orig_mod.', 'net.']

/** The prefix without which names fit; empty for none. */
export function findPrefix(
  names: readonly string[],
  known: { has(name: string): boolean },
): string {
  let prefix = ''
  for (;;) {
    if (names.some((name) => known.has(name.slice(prefix.length)))) return prefix
    const more = PREFIXES.find((next) => names.every((name) => name.startsWith(prefix + next)))
    if (more === undefined || names.length === 0) return ''
    prefix += more
  }
}
