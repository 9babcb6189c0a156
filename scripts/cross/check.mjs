// `npm run check:platform -- PLATFORM ...`: builds the addon of a platform as it is published, and
// runs it there, or in an emulator: its kernels against their references, the recorded cases and
// training traces of Python, and a program that uses the public interface.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { ensure, main } from '../ensure.mjs'
import { Failure, root, run, say } from '../lib.mjs'
import { GLIBC, LARGEST } from '../platforms.mjs'
import { rustCounts } from '../rust.mjs'
import { buildAddon, cargoFor } from './build.mjs'
import { programRunner, runnable, scriptRunner } from './runtimes.mjs'

/** The newest glibc whose symbols a library needs, such as `2.28`; null if it needs none. */
async function newestGlibc(file) {
  const { code, out } = await run('readelf', ['--version-info', '--wide', file], {
    stdout: 'capture',
  })
  if (code !== 0) throw new Failure('readelf is needed (Debian: binutils).')
  const versions = [...out.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, a, b]) => [
    Number(a),
    Number(b),
  ])
  const newest = versions.sort(([a, b], [c, d]) => a - c || b - d).at(-1)
  return newest ? newest.join('.') : null
}

async function checkFile(platform, file) {
  const { size } = statSync(file)
  const megabytes = (size / 1e6).toFixed(2)
  if (size > LARGEST)
    throw new Failure(`${platform}: ${megabytes} MB is more than ${LARGEST / 1e6}.`)
  if (!/^linux-.*-gnu$/.test(platform)) return `${megabytes} MB`
  const glibc = await newestGlibc(file)
  const [have, want] = [glibc, GLIBC].map((version) => Number(version?.split('.')[1]))
  if (!(have <= want)) throw new Failure(`${platform}: it needs glibc ${glibc}, not ${GLIBC}.`)
  return `${megabytes} MB, glibc ${glibc}`
}

/** Unit tests of the kernels. */
async function kernelTests(platform) {
  const { program, env, target } = await cargoFor(platform)
  const runner = await programRunner(platform)
  const variable = `CARGO_TARGET_${nameIn(target)}_RUNNER`
  const args = ['test', '--profile', 'dist', '-p', 'xt-kernels', '--lib', ...target]
  const counts = rustCounts(
    await run(program, args, {
      stdout: 'tee',
      env: { ...env, ...(runner.length && { [variable]: runner.join(' ') }), PROPTEST_CASES: '16' },
    }),
  )
  if (counts.failed || !counts.passed) throw new Failure(`${platform}: tests of kernels failed.`)
  return `${counts.passed} passed`
}

/** How cargo's variables spell the target that its options name, without the version of glibc. */
const nameIn = ([, name = '']) =>
  name
    .replace(/\.[\d.]+$/, '')
    .toUpperCase()
    .replaceAll('-', '_')

async function runScript(platform, addon, script, ...args) {
  const [program, ...before] = await scriptRunner(platform)
  const { code, out } = await run(program, [...before, join(root, script), ...args], {
    stdout: 'tee',
    env: { X_TRANSFORMERS_ADDON: addon, NODE_OPTIONS: '' },
  })
  if (code !== 0) throw new Failure(`${platform}: ${script} failed.`)
  return out.trim().split('\n').at(-1)
}

async function checkPlatform(platform) {
  if (!runnable().includes(platform))
    throw new Failure(`${platform} cannot be run here; what can: ${runnable().join(', ')}.`)
  const addon = await buildAddon(platform)
  const results = {
    addon: await checkFile(platform, addon),
    kernels: await kernelTests(platform),
    recordings: await runScript(platform, addon, 'dist/commands/scripts/parity.js', 'test/golden'),
    interface: await runScript(platform, addon, 'scripts/cross/smoke.mjs', platform),
  }
  if (!/^\d+ passed, 0 failed, 0 skipped$/.test(results.recordings))
    throw new Failure(`${platform}: ${results.recordings}`)
  for (const [part, result] of Object.entries(results))
    if (result !== null) console.log(`${platform}  ${part.padEnd(12)} ${result}`)
}

await main(async () => {
  const platforms = process.argv.slice(2)
  if (!platforms.length) throw new Failure(`npm run check:platform -- ${runnable().join('|')} ...`)
  // what the scripts run; the addon is built for each platform
  await ensure(['packages', 'ts'])
  for (const platform of platforms) {
    say(`\n== ${platform}`)
    await checkPlatform(platform)
  }
})
