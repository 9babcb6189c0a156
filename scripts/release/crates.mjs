// The crates that are published: their documentation, examples and packages.
import { Failure, run } from '../lib.mjs'
import { builtPrograms, tail } from '../rust.mjs'

/** The crates without `publish = false`: `{ name, version, examples }`. */
export async function publishedCrates() {
  const args = ['metadata', '--no-deps', '--format-version', '1', '--locked']
  const { code, out } = await run('cargo', args, { stdout: 'capture' })
  if (code !== 0) throw new Failure('`cargo metadata` failed; the reason stands above.')
  const ours = JSON.parse(out).packages.filter(({ publish }) => publish === null)
  return ours.map(({ name, version, targets }) => ({
    name,
    version,
    examples: targets.filter(({ kind }) => kind.includes('example')).map(({ name }) => name),
  }))
}

const named = (crates) => crates.flatMap(({ name }) => ['-p', name])

/** A command of cargo as a part of a check. */
async function counted(args, env = {}) {
  const { code, out } = await run('cargo', args, { stdout: 'tee', env })
  if (code === 0) return { passed: 1, failed: 0, skipped: 0 }
  return { passed: 0, failed: 1, skipped: 0, failures: [tail(out)] }
}

/** The documentation of all crates, in which a broken link is an error. */
export const documentation = () =>
  counted(['doc', '--release', '--workspace', '--no-deps'], { RUSTDOCFLAGS: '-D warnings' })

/** Builds the examples with all crates, as `cargo test` does, and runs those that are published. */
export async function examples() {
  const built = await builtPrograms(['build', '--release', '--workspace', '--examples'])
  if (!built) return { passed: 0, failed: 1, skipped: 0, failures: ['an example did not compile'] }
  const sum = { passed: 0, failed: 0, skipped: 0, failures: [] }
  for (const { name, examples } of await publishedCrates()) {
    if (!examples.length) sum.failures.push(`${name} has no example`)
    for (const example of examples) {
      const { code, out } = await run(built.get(example), [], { stdout: 'tee' })
      if (code === 0 && out.trim()) sum.passed++
      else sum.failures.push(`${name}, ${example}: ${tail(out)}`)
    }
  }
  return { ...sum, failed: sum.failures.length }
}

/** Packs all of them and builds each package, from the packages of the others. */
export async function packages() {
  const crates = await publishedCrates()
  return counted(['publish', '--dry-run', '--locked', '--allow-dirty', ...named(crates)])
}

/** Whether crates.io has this version of a crate. */
async function isPublished({ name, version }) {
  const args = ['info', `${name}@${version}`, '--registry', 'crates-io', '--color', 'never']
  const { code, out } = await run('cargo', args, { stdout: 'tee' })
  if (code === 0) return true
  if (out.includes('could not find')) return false
  throw new Failure(`crates.io did not answer for ${name}.`)
}

/** Publishes those that crates.io does not have, each after those that it needs. */
export async function publishCrates({ dry }) {
  const missing = []
  for (const crate of await publishedCrates()) {
    if (await isPublished(crate)) console.log(`${crate.name} ${crate.version} is on crates.io.`)
    else missing.push(crate)
  }
  if (!missing.length) return
  const args = ['publish', '--locked', ...(dry ? ['--dry-run', '--allow-dirty'] : [])]
  const { code } = await run('cargo', [...args, ...named(missing)])
  if (code !== 0) throw new Failure('The crates could not be published; the reason stands above.')
}
