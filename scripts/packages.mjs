// Installs the npm packages when they are missing or are not those of package-lock.json.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, npm, root, say } from './lib.mjs'

const packagesIn = (path) =>
  existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : {}

/** npm notes what it has installed in a lock file of its own. */
function installed() {
  const have = packagesIn(join(root, 'node_modules', '.package-lock.json'))
  const want = packagesIn(join(root, 'package-lock.json'))
  return Object.entries(want).every(
    ([path, entry]) =>
      path === '' || entry.optional || entry.devOptional || have[path]?.version === entry.version,
  )
}

export async function ensurePackages() {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new Failure(`Node 20 or newer is needed, this is ${process.version}.`)
  }
  if (installed()) return
  say('Installing the npm packages ...')
  const { code } = await npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'])
  if (code !== 0) throw new Failure('`npm ci` failed; the reason stands above.')
}
