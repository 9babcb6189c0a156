// `node scripts/run.mjs COMMAND ...`: builds what is missing, then runs a command that is
// written in TypeScript. It runs in this same process, so that Ctrl-C reaches it.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { emulatedDriver } from './cuda/emulator.mjs'
import { ensure, main } from './ensure.mjs'
import { root, run } from './lib.mjs'
import { exampleProgram } from './training-examples.mjs'

/** The compiled file of each command, in dist/commands. */
const COMMANDS = {
  train: 'apps/moby-dick/train.js',
  sample: 'apps/moby-dick/sample.js',
  parity: 'scripts/parity.js',
  replay: 'scripts/replay.js',
}

const [command, ...args] = process.argv.slice(2)
// the others do not need WebAssembly, whose tools take minutes to build
const parts = command === 'replay' ? ['packages', 'addon', 'wasm', 'ts'] : undefined
let file
await main(async () => {
  if (command === 'example') {
    const name = args.shift()
    file = exampleProgram(name)
    process.chdir(join(root, 'examples', name)) // where it keeps its checkpoints
  } else file = join(root, 'dist/commands', COMMANDS[command])
  await ensure(parts)
})
if (args.includes('--emulate')) {
  // the driver is looked for where the loader has looked when the process started
  const { code } = await run(process.execPath, [file, ...args], {
    stdout: 'tee',
    env: { LD_LIBRARY_PATH: await emulatedDriver() },
  })
  process.exitCode = code
} else {
  process.argv = [process.argv[0], file, ...args]
  await import(pathToFileURL(file).href)
}
