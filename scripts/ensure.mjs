// Installs and builds what is missing or stale.
// `node scripts/ensure.mjs [packages] [addon] [wasm] [ts]`; without a name, what Node needs.
import { pathToFileURL } from 'node:url'
import { ensureAddon } from './addon.mjs'
import { Failure, say } from './lib.mjs'
import { ensurePackages } from './packages.mjs'
import { ensureTypeScript } from './typescript.mjs'
import { ensureWasm } from './wasm/build.mjs'

const STEPS = {
  packages: ensurePackages,
  addon: ensureAddon,
  wasm: () => ensureWasm(),
  ts: ensureTypeScript,
}

/** What Node needs; `wasm` takes tools and time that a training run should not wait for. */
const NODE = ['packages', 'addon', 'ts']

export async function ensure(names = NODE) {
  for (const name of names) {
    if (!STEPS[name])
      throw new Failure(
        `There is nothing named ${name} to build; there is: ${Object.keys(STEPS).join(', ')}.`,
      )
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
