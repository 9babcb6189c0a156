// The examples that train: folders of examples/ that run here too, on the built package, without
// being installed. `npm run example -- vit-mnist --quick`.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Failure, root, run } from './lib.mjs'
import { check } from './parts.mjs'
import { colours } from './rust.mjs'

export const TRAINING_EXAMPLES = [
  ...['char-gpt', 'masked-language-model', 'vit-mnist', 'copy', 'captions'],
  ...['transformer-xl', 'forecasting', 'pali'],
]

/** The compiled program of an example. */
export function exampleProgram(name) {
  if (TRAINING_EXAMPLES.includes(name))
    return join(root, 'dist/commands/examples', name, 'src/main.js')
  const wrong = name ? `No example is named ${name}` : 'Name an example'
  throw new Failure(`${wrong}; there is: ${TRAINING_EXAMPLES.join(', ')}.`)
}

/** Runs an example at full size; it fails where it misses its goal. */
export async function wholeExample(name) {
  const cwd = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  try {
    return await check(
      run(process.execPath, [exampleProgram(name)], { stdout: 'tee', env: colours, cwd }),
    )
  } finally {
    rmSync(cwd, { recursive: true, force: true })
  }
}
