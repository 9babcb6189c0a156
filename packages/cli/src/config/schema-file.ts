import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../errors.js'
import { packageRoot } from '../root.js'

/** The JSON schema of configurations, which the build writes. */
export function schemaPath(): string {
  const path = join(packageRoot(), 'dist/train.schema.json')
  if (existsSync(path)) return path
  throw new Failure(`there is no ${path}: the build of the package writes it`)
}
