// Installs and builds what is missing or stale. `node scripts/ensure.mjs [packages] [addon] [ts]`; without a name, everything.
import { pathToFileURL } from 'node:url'
import { ensureAddon } from './addon.mjs'
import { Failure, say } from './lib.mjs'
import { ensurePackages } from './packages.mjs'
import { ensureTypeScript } from './typescript.mjs'

const STEPS = { packages: ensurePackages, addon: ensureAddon, ts: ensureTypeScript }

export async function ensure(names = Object.keys(STEPS)) {
  for (const name of names) {
    if (!STEPS[name])
      throw new Failure(`There is nothing named ${name} to build; there is: ${Object.keys(STEPS).join(', ')}.`)
    await STEPS[name]()
  }
}

/** Runs a script's main function; a Failure ends it with its message alone. */
export async function main(body) {
  try {
    await body()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    say(error.message)
    process.exit(1)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const names = process.argv.slice(2)
  await main(() => ensure(names.length ? names : undefined))
}
