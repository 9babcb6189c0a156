// Bundled or traced programs for Node: built from the tarballs in one folder, and run in another
// one after the first is removed.
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { nodeFileTrace } from '@vercel/nft'
import { type BuildOptions, build } from 'esbuild'
import { build as vite } from 'vite'
import { beforeAll, expect, it } from 'vitest'
import webpack from 'webpack'
import { often, slow } from '../slow.js'
import { node, type Packed, packed, root } from './packed.js'

type Target = 'native' | 'wasm'

/** Builds `main.js` of a project into a folder, and returns the name of the file to run. */
type Builder = (project: string, out: string) => Promise<string>

let installed: Packed
beforeAll(async () => {
  installed = await packed()
}, 300_000)

/** Builds with a copy of an installation, removes it, moves the output and runs it. */
async function deployed(name: string, target: Target, builder: Builder): Promise<unknown> {
  const project = join(installed.folder, 'deployed', name, 'project')
  const out = join(installed.folder, 'deployed', name, 'out')
  mkdirSync(out, { recursive: true })
  cpSync(installed[target], project, { recursive: true })
  cpSync(join(root, 'test/package/apps/deployed.js'), join(project, 'main.js'))
  const file = await builder(project, out)
  rmSync(project, { recursive: true })
  const elsewhere = join(installed.folder, 'moved', name)
  mkdirSync(dirname(elsewhere), { recursive: true })
  renameSync(out, elsewhere)
  expectNoPath(elsewhere, project)
  return JSON.parse(await node(installed.folder, join(elsewhere, file)))
}

/** The output must not contain the path of the build folder. */
function expectNoPath(folder: string, path: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.[cm]?js$/.test(name),
  )
  expect(files.length).toBeGreaterThan(0)
  expect(files.filter((name) => readFileSync(join(folder, name), 'utf8').includes(path))).toEqual(
    [],
  )
}

const REQUIRE =
  "import { createRequire as xtCreateRequire } from 'node:module'; const require = xtCreateRequire(import.meta.url);"

const esbuild =
  (settings: BuildOptions): Builder =>
  async (project, out) => {
    const file = settings.format === 'esm' ? 'main.mjs' : 'main.cjs'
    const entry = { entryPoints: [join(project, 'main.js')], outfile: join(out, file) }
    const banner: Record<string, string> = settings.format === 'esm' ? { js: REQUIRE } : {}
    const common = {
      bundle: true,
      platform: 'node',
      absWorkingDir: project,
      logLevel: 'silent',
      banner,
    } as const
    const { warnings } = await build({ ...common, ...entry, ...settings })
    expect(warnings).toEqual([])
    return file
  }

/** The same program, with `require`. */
const required =
  (builder: Builder): Builder =>
  async (project, out) => {
    const path = join(project, 'main.js')
    const text = readFileSync(path, 'utf8')
    writeFileSync(
      path,
      text.replaceAll(/^import (\{.*\}) from ('.*')$/gm, 'const $1 = require($2)'),
    )
    return await builder(project, out)
  }

/** As for browsers: WebAssembly is copied to `pkg` beside the bundle. */
const withWasm =
  (builder: Builder): Builder =>
  async (project, out) => {
    const from = join(project, 'node_modules/x-transformers/dist/esm/wasm/pkg')
    cpSync(from, join(out, 'pkg'), { recursive: true, filter: (path) => !path.endsWith('.js') })
    return await builder(project, out)
  }

const external: Builder = async (project, out) => {
  cpSync(join(project, 'node_modules'), join(out, 'node_modules'), { recursive: true })
  return await esbuild({ format: 'esm', packages: 'external', banner: {} })(project, out)
}

const webpack5With =
  (filename: string, { output, ...settings }: webpack.Configuration = {}): Builder =>
  async (project, out) => {
    const stats = await new Promise<webpack.Stats | undefined>((resolve, reject) =>
      webpack(
        {
          mode: 'production',
          target: 'node20',
          context: project,
          entry: './main.js',
          output: { path: out, filename, ...output },
          module: { rules: [{ test: /\.node$/, type: 'asset/resource' }] },
          ignoreWarnings: [{ module: /x-transformers/, message: /Can't resolve/ }],
          ...settings,
        },
        (error, stats) => (error ? reject(error) : resolve(stats)),
      ),
    )
    expect(stats?.toString({ all: false, errors: true, warnings: true })).toBe('')
    return filename
  }

const webpack5 = webpack5With('main.cjs')
const MODULE = { output: { module: true }, experiments: { outputModule: true } }

/** A program with the import that the banner needs. */
const importing =
  (builder: Builder): Builder =>
  async (project, out) => {
    const path = join(project, 'main.js')
    const text = readFileSync(path, 'utf8')
    const use =
      "import { createRequire } from 'node:module'\nif (!createRequire(import.meta.url)('node:fs')) throw 1\n"
    writeFileSync(path, use + text)
    return await builder(project, out)
  }

/** Moves the program into a separate folder, away from the addon. */
const apart: Builder = async (project, out) => {
  const output = {
    publicPath: 'https://example.org/_next/',
    assetModuleFilename: 'static/[name][ext]',
  }
  const file = await webpack5With('main.cjs', { output })(project, out)
  renameSync(join(out, 'static'), join(out, 'elsewhere'))
  return file
}

/** By default packages are external; here only the addon is, since Vite reads files as text. */
const viteServer: Builder = async (project, out) => {
  const addons = join(project, 'node_modules/@x-transformers')
  const external = [/\.node$/, /^@x-transformers\//]
  await vite({
    configFile: false,
    root: project,
    logLevel: 'error',
    ssr: { noExternal: ['x-transformers'] },
    build: { ssr: 'main.js', outDir: out, rolldownOptions: { cwd: project, external } },
  })
  cpSync(addons, join(out, 'node_modules/@x-transformers'), { recursive: true })
  const [file] = readdirSync(out).filter((name) => /\.[cm]?js$/.test(name))
  return file as string
}

const traced =
  (name: string): Builder =>
  async (project, out) => {
    if (name !== 'main.js') renameSync(join(project, 'main.js'), join(project, name))
    const { fileList } = await nodeFileTrace([join(project, name)], { base: project })
    for (const file of fileList) cpSync(join(project, file), join(out, file))
    return name
  }

const CASES = {
  'esbuild, CommonJS, copied addon': [
    'native',
    esbuild({ format: 'cjs', loader: { '.node': 'copy' } }),
  ],
  'esbuild, CommonJS, addon as a file': [
    'native',
    esbuild({ format: 'cjs', loader: { '.node': 'file' } }),
  ],
  'esbuild, ES module, copied addon': [
    'native',
    esbuild({ format: 'esm', loader: { '.node': 'copy' } }),
  ],
  'esbuild, minified': [
    'native',
    esbuild({ format: 'cjs', minify: true, loader: { '.node': 'copy' } }),
  ],
  'esbuild, external': ['native', external],
  'esbuild, WebAssembly': ['wasm', withWasm(esbuild({ format: 'cjs' }))],
  'esbuild, ES module, with an import of createRequire': [
    'native',
    importing(esbuild({ format: 'esm', loader: { '.node': 'copy' } })),
  ],
  webpack: ['native', webpack5],
  'webpack, ES module': ['native', webpack5With('main.mjs', MODULE)],
  'webpack, with folders of the sources': [
    'native',
    webpack5With('main.cjs', { node: { __dirname: true } }),
  ],
  'webpack, with an address for browsers': [
    'native',
    webpack5With('main.cjs', { output: { publicPath: '/_next/' } }),
  ],
  'webpack, with an address and a folder': [
    'native',
    webpack5With('main.cjs', {
      output: { publicPath: '/_next/', assetModuleFilename: 'static/media/[hash][ext]' },
    }),
  ],
  'webpack, WebAssembly': ['wasm', withWasm(webpack5)],
  'Vite, for a server': ['native', viteServer],
  '@vercel/nft': ['native', traced('main.mjs')],
  '@vercel/nft, by require': ['native', required(traced('main.cjs'))],
  '@vercel/nft, WebAssembly': ['wasm', traced('main.mjs')],
} satisfies Record<string, [Target, Builder]>

/** One of each builder, and each way to find the addon. */
const OFTEN = [
  'esbuild, CommonJS, copied addon',
  'esbuild, ES module, copied addon',
  'esbuild, external',
  'esbuild, WebAssembly',
  'webpack',
  'Vite, for a server',
  '@vercel/nft',
  '@vercel/nft, by require',
  '@vercel/nft, WebAssembly',
] as const

slow.it('reports the missing copy of the addon', async () => {
  const failed = deployed('webpack-apart', 'native', apart)
  await expect(failed).rejects.toThrow(
    /the bundler's copy of it, https:\/\/example.org\/_next\/static\/.*\.node, is not/,
  )
})

it.for(often(CASES, OFTEN))(
  '%s: runs in another folder than it was built in',
  async ([name, [target, builder]]) => {
    const report = await deployed(name.replaceAll(/\W+/g, '-'), target, builder)
    expect(report).toEqual({ target, shape: [1, 8, 16], spawned: target })
  },
)
