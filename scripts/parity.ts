// The command of `npm run parity -- DIR`: runs the recorded cases and training traces of a folder
// (test/golden/README.md).
import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { type Device, setDefaultDevice } from 'x-transformers'
import { listFixtures, runFile } from '../test/parity/fixtures.js'
import { command, userPath } from './command.js'

const program = new Command('npm run parity --')
  .description('Compares this library with recorded results of the Python package.')
  .argument('<dir>', 'folder with CASE.json and CASE.safetensors files, as in test/golden')
  .option('--device <name>', 'where to compute, such as cuda', 'cpu')
  .option('--emulate', 'with the CUDA driver that runs on the CPU, in place of a GPU')

await command(async () => {
  const folder = userPath(program.parse().args[0] as string)
  setDefaultDevice(program.opts<{ device: Device }>().device)
  if (!existsSync(folder)) program.error(`${folder} does not exist`)
  const fixtures = listFixtures(folder)
  if (!fixtures.length)
    program.error(`${folder} has no recorded cases (CASE.json beside CASE.safetensors)`)

  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const fixture of fixtures) {
    const { status, reason } = await runFile(fixture)
    counts[status]++
    if (status !== 'passed')
      console.log(`${status}  ${fixture.name}: ${reason.replaceAll(/\s*\n\s*/g, ' ')}`)
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  if (counts.failed) process.exitCode = 1
})
