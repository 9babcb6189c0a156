// `node scripts/run.mjs COMMAND ...`: builds what is missing, then runs a command of ts/cli. It runs in this same process, so that
// Ctrl-C reaches it.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensure, main } from './ensure.mjs'
import { root } from './lib.mjs'

const [command, ...args] = process.argv.slice(2)
// the others do not need WebAssembly, whose tools take minutes to build
await main(() => ensure(command === 'replay' ? ['packages', 'addon', 'wasm', 'ts'] : undefined))
const file = join(root, 'dist/cli/ts/cli', `${command}.js`)
process.argv = [process.argv[0], file, ...args]
await import(pathToFileURL(file).href)
