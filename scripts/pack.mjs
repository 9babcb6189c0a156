// Packs what is published into pack/: the package, and a platform package for the addon of this
// machine, laid out as napi-rs does. With `--as-built`: for each addon at the root.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, constants } from 'node:zlib'
import { buildAddon } from './cross/build.mjs'
import { ensure, main } from './ensure.mjs'
import { Failure, npm, root, say } from './lib.mjs'
import { LARGEST, LIBC, PLATFORMS, triple } from './platforms.mjs'
import { isStub } from './wasm/stub.mjs'

/** Most bytes of a WebAssembly file, compressed as servers do. */
const LIMIT = 1_320_000

const PKG = join(root, 'ts/wasm/pkg')
const WASM = ['x-transformers.wasm', 'x-transformers.relaxed.wasm', 'x-transformers.threads.wasm']

/** Beside these, npm takes package.json and what `files` in it names. */
const TEXTS = ['README.md', 'LICENSE', 'CHANGELOG.md', 'docs']

const manifest = () => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)

/** The addons at the root: `{ file, platform }`, such as `linux-x64-gnu`. */
function addons() {
  const found = readdirSync(root).flatMap((file) => {
    const platform = file.match(/^x-transformers\.([\w-]+)\.node$/)?.[1]
    return platform ? [{ file, platform }] : []
  })
  if (found.length) return found
  throw new Failure(
    'There is no native addon to pack: `npm run build:addon` makes the one for this machine.',
  )
}

function checkBuilt() {
  const missing = ['single.js', 'threads.js', ...WASM].filter(
    (name) => !existsSync(join(PKG, name)),
  )
  if (missing.length) {
    throw new Failure(
      `ts/wasm/pkg has no ${missing.join(', ')}: \`npm run build:wasm\` makes what is missing.`,
    )
  }
  const built = [
    ...WASM.map((name) => `esm/wasm/pkg/${name}`),
    'edge/workerd/index.js',
    'node.mjs',
    'cjs/index.js',
    'esm/index.js',
  ]
  if (built.every((path) => existsSync(join(root, 'dist', path)))) return
  throw new Failure(
    'The compiled TypeScript is missing, or misses WebAssembly: `npm run build:ts` makes it.',
  )
}

/**
 * The repository in which a workflow packs: npm compares it with the origin that a provenance
 * names.
 */
function repository() {
  const { GITHUB_REPOSITORY: name, GITHUB_SERVER_URL: server } = process.env
  return name && server ? { repository: { type: 'git', url: `git+${server}/${name}.git` } } : {}
}

const platformPackage = (platform) => `@x-transformers/${platform}`

/**
 * The package itself, which asks for the addons of all platforms; npm installs the one that fits.
 * The commands of the repository stay out.
 */
function stageMain(folder) {
  const { scripts, devDependencies, workspaces, ...published } = manifest()
  const optionalDependencies = Object.fromEntries(
    Object.keys(PLATFORMS).map((name) => [platformPackage(name), published.version]),
  )
  mkdirSync(folder, { recursive: true })
  writeJson(join(folder, 'package.json'), { ...published, ...repository(), optionalDependencies })
  for (const name of TEXTS) cpSync(join(root, name), join(folder, name), { recursive: true })
  const commands = join(root, 'dist/commands')
  cpSync(join(root, 'dist'), join(folder, 'dist'), {
    recursive: true,
    filter: (path) => path !== commands,
  })
}

/** What npm installs on one platform alone, with the addon in the folder `from`. */
export function stageAddon(folder, { file, platform }, from = root) {
  const { version, author, license, engines } = manifest()
  const [os, cpu, abi] = platform.split('-')
  mkdirSync(folder, { recursive: true })
  writeJson(join(folder, 'package.json'), {
    name: platformPackage(platform),
    version,
    description: `The native addon of x-transformers for ${platform}`,
    author,
    license,
    ...repository(),
    type: 'commonjs',
    main: file,
    files: [file],
    os: [os],
    cpu: [cpu],
    ...(LIBC[abi] && { libc: [LIBC[abi]] }),
    engines,
    publishConfig: { access: 'public' },
  })
  const readme = `The native addon of \`x-transformers\` for ${platform}. npm installs it together with that package, where it fits.\n`
  writeFileSync(join(folder, 'README.md'), `# \`${platformPackage(platform)}\`\n\n${readme}`)
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  cpSync(join(from, file), join(folder, file))
}

async function tarball(folder, into) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', into]
  const { code, out } = await npm(args, { cwd: folder, stdout: 'capture' })
  if (code !== 0) throw new Failure(`\`npm pack\` failed in ${folder}; the reason stands above.`)
  const [{ name, filename, size, unpackedSize }] = JSON.parse(out)
  return {
    name,
    file: join(into, filename.replace(/^@/, '').replace('/', '-')),
    size,
    unpackedSize,
  }
}

/**
 * Stages and packs everything into a folder, which is emptied first. The main package comes first.
 *
 * @param found the addons: `{ file, platform }`, and the folder `from` where it is not the root
 */
export async function pack(into, found = addons()) {
  checkBuilt()
  rmSync(into, { recursive: true, force: true })
  stageMain(join(into, 'x-transformers'))
  for (const addon of found) stageAddon(join(into, addon.platform), addon, addon.from)
  const folders = ['x-transformers', ...found.map(({ platform }) => platform)]
  const tarballs = []
  for (const folder of folders) tarballs.push(await tarball(join(into, folder), into))
  return tarballs
}

/**
 * Sizes of the WebAssembly files; with brotli they must fit. The highest quality, 11, takes half a
 * minute, and 9 gives a tenth more.
 */
export async function wasmSizes(quality = 11) {
  checkBuilt()
  return await Promise.all(
    WASM.map(async (name) => {
      const bytes = readFileSync(join(root, 'dist/esm/wasm/pkg', name))
      const params = {
        [constants.BROTLI_PARAM_QUALITY]: quality,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      }
      const { length } = await promisify(brotliCompress)(bytes, { params })
      return { name, size: bytes.length, brotli: length, fits: length <= LIMIT }
    }),
  )
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`

/** The addon of this machine, built as it is published: smaller, and for older systems. */
async function published() {
  const path = await buildAddon(triple()).catch((error) => {
    if (!(error instanceof Failure)) throw error
    const without =
      '`npm run pack -- --as-built` packs the addon of `npm run build`, which is larger.'
    throw new Failure(`${error.message}\n${without}`)
  })
  const { size } = statSync(path)
  if (size > LARGEST)
    throw new Failure(`The addon has ${megabytes(size)}, more than ${megabytes(LARGEST)}.`)
  return [{ platform: triple(), file: basename(path), from: dirname(path) }]
}

async function packAll(asBuilt) {
  await ensure(['packages', ...(asBuilt ? ['addon'] : []), 'wasm', 'ts'])
  if (isStub())
    say('The package will have no WebAssembly with threads: that build was left out here.')
  const tarballs = await pack(join(root, 'pack'), asBuilt ? addons() : await published())
  for (const { file, size, unpackedSize } of tarballs) {
    console.log(
      `${file.slice(root.length + 1)}: ${megabytes(size)}, unpacked ${megabytes(unpackedSize)}`,
    )
  }
  const sizes = await wasmSizes()
  for (const { name, size, brotli } of sizes)
    console.log(`${name}: ${megabytes(size)}, brotli ${megabytes(brotli)}`)
  const large = sizes.filter(({ fits }) => !fits).map(({ name }) => name)
  if (large.length)
    throw new Failure(`Too large, more than ${megabytes(LIMIT)} with brotli: ${large.join(', ')}.`)
}

function refuse() {
  throw new Failure(
    'Nothing is published from here: package.json of the repository lacks the platform packages.\nRun `npm run pack`, then `npm publish` each tarball in pack/, the platform packages first.',
  )
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () =>
    process.argv[2] === 'refuse' ? refuse() : packAll(process.argv.includes('--as-built')),
  )
}
