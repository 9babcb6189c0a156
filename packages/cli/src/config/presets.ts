/** The configurations that come with the package, one file each. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { unknownName } from '../errors.js'
import { packageRoot } from '../root.js'

/** In the published package they stand beside the command. */
function folder(): string {
  const [published, source] = ['dist/presets', 'packages/cli/presets'].map((path) =>
    join(packageRoot(), path),
  ) as [string, string]
  return existsSync(published) ? published : source
}

export const presetNames = (): string[] =>
  readdirSync(folder())
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort()

/** A preset, not checked yet. */
export function readPreset(name: string): Record<string, unknown> {
  const names = presetNames()
  if (!names.includes(name)) throw unknownName('preset', name, names)
  return JSON.parse(readFileSync(join(folder(), `${name}.json`), 'utf8'))
}
