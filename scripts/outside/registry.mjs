// A registry on this machine that has the tarballs; everything else it fetches from the user's
// registry, and keeps in the cache. So packages are installed as users will install them.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cache, Failure, npm } from '../lib.mjs'
import { pack, stageAddon } from '../pack.mjs'
import { PLATFORMS } from '../platforms.mjs'
import { freePort, start } from './project.mjs'

/** A setting of the user's npm, null where there is none. */
async function setting(name) {
  const { out } = await npm(['config', 'get', name], { cwd: tmpdir(), stdout: 'capture' })
  return ['', 'null', 'undefined'].includes(out.trim()) ? null : out.trim()
}

/** Verdaccio's settings. Its format is YAML, of which JSON is a part. */
async function settings(storage, own) {
  const url = await setting('registry')
  // without `proxy`: another package of this name elsewhere is never asked for
  const mine = { access: '$all', publish: '$all', storage: own }
  return {
    storage,
    uplinks: { user: { url, maxage: '1h', timeout: '2m', max_fails: 100 } },
    packages: {
      'x-transformers': mine,
      '@x-transformers/*': mine,
      '**': { access: '$all', proxy: 'user' },
    },
    max_body_size: '100mb',
    web: { enable: false },
    log: { type: 'stdout', format: 'pretty', level: 'warn', colors: false },
  }
}

/** Packages with nothing in them, for the platforms whose addon was built elsewhere. */
function standIns(folder, packed) {
  const missing = Object.keys(PLATFORMS).filter(
    (platform) => !packed.some(({ name }) => name.endsWith(`/${platform}`)),
  )
  return missing.map((platform) => {
    const file = `x-transformers.${platform}.node`
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, file), '')
    stageAddon(join(folder, platform), { file, platform }, folder)
    return join(folder, platform)
  })
}

async function publish(what, url) {
  // npm wants a token, which this registry does not look at
  const token = `--${url.replace('http:', '')}:_authToken=none`
  const flags = ['--registry', url, token, '--ignore-scripts', '--loglevel=error']
  const { code } = await npm(['publish', what, ...flags], { cwd: tmpdir(), stdout: 'capture' })
  if (code !== 0) throw new Failure(`${what} was not published; the reason stands above.`)
}

/** Package managers refuse, by default, what is only some hours old. */
function makeOlder(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((name) => name.endsWith('package.json'))) {
    const entry = JSON.parse(readFileSync(join(folder, file), 'utf8'))
    const times = Object.keys(entry.time).map((version) => [version, '2020-01-01T00:00:00.000Z'])
    writeFileSync(join(folder, file), JSON.stringify({ ...entry, time: Object.fromEntries(times) }))
  }
}

/** Starts Verdaccio, and waits until it answers. */
async function startServer([program, ...first], folder, config, url) {
  const ca = process.env.NODE_EXTRA_CA_CERTS ?? (await setting('cafile'))
  const args = [...first, '--config', config, '--listen', url.slice('http://'.length, -1)]
  const env = { ...process.env, ...(ca && { NODE_EXTRA_CA_CERTS: ca }) }
  const server = start([program, ...args], { cwd: folder, env })
  for (let tries = 0; tries < 300 && server.running(); tries++) {
    if (await fetch(`${url}-/ping`).catch(() => null)) return server
    await sleep(100)
  }
  await server.end()
  throw new Failure(`The local registry did not start:\n${server.said.all}`)
}

/** Starts the registry, with everything published. */
export async function startRegistry({ verdaccio }, folder) {
  const tarballs = await pack(join(folder, 'pack'))
  const storage = join(cache(), 'outside', 'registry')
  const own = `own-${process.pid}`
  const url = `http://127.0.0.1:${await freePort()}/`
  const config = join(folder, 'registry.yaml')
  writeFileSync(config, JSON.stringify(await settings(storage, own)))
  const server = await startServer(verdaccio, folder, config, url)
  const remove = () => rmSync(join(storage, own), { recursive: true, force: true })
  process.once('exit', remove)
  const close = async () => {
    await server.end()
    remove()
  }
  try {
    const [main, ...addons] = tarballs.map(({ file }) => file)
    const all = [...addons, ...standIns(join(folder, 'stand-ins'), tarballs), main]
    for (const what of all) await publish(what, url)
    makeOlder(join(storage, own))
    return { url, close, said: server.said }
  } catch (error) {
    await close()
    throw error
  }
}
