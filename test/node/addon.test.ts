// Which addon Node loads, and the error without one: the built package, started in ways that keep
// it from loading its addon.
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const addon = join(root, readdirSync(root).find((name) => name.endsWith('.node')) as string)
const folder = mkdtempSync(join(tmpdir(), 'x-transformers-addon-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Copies of the package: with its addon and no WebAssembly, and with neither. */
const NATIVE = join(folder, 'native')
const NOTHING = join(folder, 'nothing')

beforeAll(() => {
  for (const copy of [NATIVE, NOTHING]) {
    const ours = (path: string) => !/wasm.pkg/.test(path) && !path.endsWith('cli')
    cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true, filter: ours })
    copyFileSync(join(root, 'package.json'), join(copy, 'package.json'))
  }
  copyFileSync(addon, join(NATIVE, addon.slice(root.length)))
})

interface Outcome {
  target?: string
  threads_reason?: string
  code?: string
  message?: string
  /** What the process says beside. */
  stderr?: string
}

interface Start {
  flags?: string[]
  chosen?: string
}

/** Output of a program that requires the package. */
async function start(copy: string, { flags = [], chosen }: Start = {}): Promise<Outcome> {
  const code = `
    try { console.log(JSON.stringify(require(${JSON.stringify(join(copy, 'dist/cjs/index.js'))}).info())) }
    catch ({ code, message }) { console.log(JSON.stringify({ code, message })) }`
  const { X_TRANSFORMERS_ADDON: _, NODE_OPTIONS: __, ...rest } = process.env
  const env = { ...rest, ...(chosen !== undefined && { X_TRANSFORMERS_ADDON: chosen }) }
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [...flags, '--eval', code],
    { env, cwd: folder },
  )
  return { ...JSON.parse(stdout), stderr }
}

const PERMISSION =
  Number(process.versions.node.split('.')[0]) < 22 ? '--experimental-permission' : '--permission'

const SWITCHES: [string, string[], string][] = [
  ['--no-addons', ['--no-addons'], 'turned off by --no-addons'],
  ['the permission model', [PERMISSION, '--allow-fs-read=*'], '--allow-addons'],
]

describe.each(SWITCHES)('%s', (_, flags, words) => {
  it('is named as the cause, if there is no WebAssembly', async () => {
    const { code, message } = await start(NATIVE, { flags })
    expect(code).toBe('no_addon')
    expect(message).toContain(words)
    expect(message).not.toContain('there is no native addon')
  })

  it('falls back to WebAssembly, and reports why', async () => {
    const { target, threads_reason } = await start(root, { flags })
    expect(target).toBe('wasm')
    expect(threads_reason).toContain(words)
  })

  it('is named beside the file of X_TRANSFORMERS_ADDON', async () => {
    const { code, message } = await start(NATIVE, { flags, chosen: addon })
    expect(code).toBe('no_addon')
    expect(message).toContain(addon)
    expect(message).toContain(words)
  })
})

it('reports which files must not be read, if the permission model hides WebAssembly', async () => {
  const shown = ['dist/cjs/', 'package.json', 'dist/package.json'].map(
    (name) => `--allow-fs-read=${join(root, name)}`,
  )
  const { code, message } = await start(root, { flags: [PERMISSION, ...shown] })
  expect(code).toBe('no_addon')
  expect(message).toContain('its WebAssembly cannot be read')
  expect(message).toContain(join(root, 'dist/esm/wasm/pkg/x-transformers'))
  expect(message).toContain('--allow-fs-read')
  expect(message).not.toContain('build:wasm')
})

it('loads the addon, if the permission model allows it', async () => {
  const flags = [PERMISSION, '--allow-fs-read=*', '--allow-addons']
  expect(await start(NATIVE, { flags })).toMatchObject({ target: 'native' })
})

it('says how to get an addon, if there is none', async () => {
  const { code, message } = await start(NOTHING)
  expect(code).toBe('no_addon')
  expect(message).toMatch(
    /there is no native addon for .*: install @x-transformers\/.*--omit=optional.*WebAssembly/,
  )
})

it('says why an existing addon cannot be loaded', async () => {
  const broken = join(folder, 'broken')
  cpSync(NOTHING, broken, { recursive: true })
  writeFileSync(join(broken, addon.slice(root.length)), 'text')
  const { code, message } = await start(broken)
  expect(code).toBe('no_addon')
  expect(message).toMatch(/cannot be loaded: .+/)
  expect(message).not.toContain('there is no native addon')
  // each try on a line
  const [, tries] = message?.split('What was tried:\n- ') ?? []
  expect(tries?.split('\n- ')).toEqual([
    expect.stringMatching(/x-transformers\..*\.node: .+/),
    expect.stringMatching(/Cannot find module '@x-transformers\//),
    ...Array(tries?.includes('musl') ? 2 : 0).fill(expect.stringContaining('Cannot find module')),
    expect.stringMatching(/^WebAssembly: its WebAssembly is not there/),
  ])
})

it('goes on with WebAssembly if an existing addon cannot be loaded, and says so once', async () => {
  const broken = join(folder, 'broken-with-wasm')
  cpSync(join(root, 'dist'), join(broken, 'dist'), { recursive: true })
  copyFileSync(join(root, 'package.json'), join(broken, 'package.json'))
  writeFileSync(join(broken, addon.slice(root.length)), 'text')
  const { target, threads_reason, stderr } = await start(broken)
  expect(target).toBe('wasm')
  const cause = /the native addon for .* cannot be loaded: .*x-transformers\..*\.node/
  expect(threads_reason).toMatch(cause)
  expect(stderr).toMatch(cause)
  expect(stderr?.match(/runs as WebAssembly/g)).toHaveLength(1)
  // without any addon, it is as it has to be
  rmSync(join(broken, addon.slice(root.length)))
  expect(await start(broken)).toMatchObject({ target: 'wasm', stderr: '' })
})

describe('X_TRANSFORMERS_ADDON', () => {
  /** A file with the given first bytes. */
  function file(name: string, ...bytes: number[]): string {
    mkdirSync(join(folder, 'files'), { recursive: true })
    const path = join(folder, 'files', name)
    writeFileSync(path, Uint8Array.from({ ...bytes, length: 4096 }))
    return path
  }

  const machine = (name: string, ...code: number[]) =>
    file(name, 0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, ...code)

  async function refused(chosen: string): Promise<string> {
    const { code, message } = await start(NATIVE, { chosen })
    expect(code).toBe('no_addon')
    return message as string
  }

  it('loads the given file, under any name', async () => {
    const renamed = join(folder, 'addon.so')
    copyFileSync(addon, renamed)
    for (const chosen of [addon, renamed])
      expect(await start(NOTHING, { chosen })).toMatchObject({ target: 'native' })
  })

  it('selects WebAssembly, which may not have been built', async () => {
    const message = await refused('wasm')
    expect(message).toContain('X_TRANSFORMERS_ADDON=wasm asks for WebAssembly')
    expect(message).toContain('build:wasm')
    expect(message).not.toContain('there is no native addon')
  })

  it('reports a missing file', async () => {
    const path = join(folder, 'missing.node')
    expect(await refused(path)).toBe(`X_TRANSFORMERS_ADDON names ${path}: there is no such file`)
  })

  it.for(['text.node', 'text.js', 'text'])('reports a file that is no addon: %s', async (name) => {
    const path = file(name, ...Buffer.from('console.log(1)'))
    expect(await refused(path)).toBe(
      `X_TRANSFORMERS_ADDON names ${path}, which is not a native addon`,
    )
  })

  it('reports a folder', async () => {
    expect(await refused(folder)).toContain(
      `X_TRANSFORMERS_ADDON names ${folder}, which cannot be read`,
    )
  })

  it('reports an addon for another platform', async () => {
    const { platform, arch } = process
    const windows = file(
      'windows.node',
      0x4d,
      0x5a,
      ...Array(58).fill(0),
      64,
      0,
      0,
      0,
      0x50,
      0x45,
      0,
      0,
      0x64,
      0x86,
    )
    const mac = file('mac.node', 0xcf, 0xfa, 0xed, 0xfe, 12, 0, 0, 1)
    const others = {
      'win32-x64': windows,
      'darwin-arm64': mac,
      'linux-riscv64': machine('linux.node', 243, 0),
    }
    for (const [name, path] of Object.entries(others)) {
      if (name === `${platform}-${arch}`) continue
      expect(await refused(path)).toContain(
        `names ${path}, which is an addon for ${name}: this is ${platform}-${arch}`,
      )
    }
  })

  it('reports an addon for this platform that is damaged, or from another package', async () => {
    const code = process.arch === 'arm64' ? [183, 0] : [62, 0]
    expect(await refused(machine('damaged.node', ...code))).toMatch(/names .*damaged\.node, which /)
    const bindings = join(root, 'node_modules/@rolldown')
    const [own] = readdirSync(bindings).filter((name) =>
      name.includes(`${process.platform}-${process.arch}`),
    )
    const [found] = readdirSync(join(bindings, own as string)).filter((name) =>
      name.endsWith('.node'),
    )
    const message = await refused(join(bindings, own as string, found as string))
    expect(message).toContain('which cannot be loaded: it is an addon of another package')
  })
})
