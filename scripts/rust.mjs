// Test programs of Rust: how they are built, and what they report.
import { stripVTControlCharacters } from 'node:util'
import { run } from './lib.mjs'

export const colours = process.stdout.isTTY ? { CARGO_TERM_COLOR: 'always', FORCE_COLOR: '1' } : {}

/** One cargo profile throughout, so that nothing is compiled twice. */
export const CARGO_TEST = ['test', '--release', '--workspace']

/**
 * What a command of cargo has built, by the name of the target; null where it fails.
 *
 * @param of tells by the path of its Cargo.toml whether a crate counts
 */
export async function builtPrograms(args, of = () => true) {
  const json = [...args, '--message-format=json-render-diagnostics']
  const { code, out } = await run('cargo', json, { stdout: 'capture' })
  if (code !== 0) return null
  const messages = out.split('\n').filter((line) => line.startsWith('{'))
  const programs = messages
    .map((line) => JSON.parse(line))
    .filter(({ executable, manifest_path }) => executable && of(manifest_path))
  return new Map(programs.map(({ target, executable }) => [target.name, executable]))
}

/** The last lines of what a program printed. */
export const tail = (text, lines = 40) =>
  stripVTControlCharacters(text).trimEnd().split('\n').slice(-lines).join('\n')

/** Sums up the lines in which each of cargo's test programs reports. */
export function rustCounts({ code, out }) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const plain = stripVTControlCharacters(out)
  const line = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm
  for (const [, passed, failed, ignored] of plain.matchAll(line)) {
    counts.passed += Number(passed)
    counts.failed += Number(failed)
    counts.skipped += Number(ignored)
  }
  if (code === 0) return counts
  // What did not compile, or died, reports nothing.
  if (counts.failed === 0) return { ...counts, failed: 1, failures: [tail(plain)] }
  const messages = plain.matchAll(/^---- \S+ stdout ----\n(?:(?!---- |failures:).*\n)*/gm)
  return { ...counts, failures: Array.from(messages, ([text]) => text.trimEnd()) }
}
