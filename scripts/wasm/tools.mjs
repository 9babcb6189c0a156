// wasm-pack and wasm-bindgen: the ones on PATH where their versions fit, else built once into the
// cache.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cache, Failure, onPath, readText, root, run, say } from '../lib.mjs'

const WASM_PACK = '0.15.1'

/** wasm-bindgen's command must be of exactly the version of the crate. */
function bindgenVersion() {
  const version = readText(join(root, 'Cargo.lock')).match(
    /name = "wasm-bindgen"\nversion = "([^"]+)"/,
  )?.[1]
  if (!version) throw new Failure('Cargo.lock names no version of wasm-bindgen.')
  return version
}

async function versionOf(program) {
  const { code, out } = await run(program, ['--version'], { stdout: 'capture' })
  return code === 0 ? out.trim().split(' ')[1] : null
}

/** Folder of the program `name` in exactly that version. */
async function installed(name, crate, version, extra) {
  const tools = join(cache(), 'tools')
  const own = join(tools, 'bin', name)
  if (existsSync(own) && (await versionOf(own)) === version) return join(tools, 'bin')
  const found = onPath(name)
  if (found && (await versionOf(found)) === version) return join(found, '..')
  say(`Building ${crate} ${version} into the cache (some minutes, once) ...`)
  const args = ['install', crate, '--version', version, '--root', tools, '--force', ...extra]
  const env = {
    // these run for seconds: building them fast matters more than their speed
    CARGO_PROFILE_RELEASE_OPT_LEVEL: '1',
    CARGO_PROFILE_RELEASE_LTO: 'off',
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
    CARGO_TARGET_DIR: join(tools, 'target'),
  }
  const { code } = await run('cargo', args, { env })
  if (code !== 0)
    throw new Failure(`${crate} ${version} could not be installed; the reason stands above.`)
  return join(tools, 'bin')
}

/** The folders that PATH must start with for wasm-pack to find its tools. */
export async function wasmTools() {
  const pack = await installed('wasm-pack', 'wasm-pack', WASM_PACK, ['--locked'])
  const bindgen = await installed('wasm-bindgen', 'wasm-bindgen-cli', bindgenVersion(), [
    '--bin',
    'wasm-bindgen',
  ])
  return [...new Set([pack, bindgen])]
}
