// Bundlers as users call them, with default settings, as in docs/browser.md.
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import webpack from 'webpack'
import { bin, node } from './packed.js'

/** A page that runs one script. */
export const page = (script: string, head = '') =>
  `<!doctype html>\n<title>app</title>\n<link rel="icon" href="data:,">\n${head}${script}\n`

export const MODULE = '<script type="module" src="./main.js"></script>'

export interface Build {
  /** Folder of the app: index.html and main.js. */
  app: string
  /** The output folder: index.html and its files. */
  out: string
  /** Folder with node_modules. */
  site: string
  /** Whether the app imports x-transformers/worker. */
  worker: boolean
}

export type Builder = (build: Build) => Promise<void>

const vite: Builder = async ({ app, out, site }) => {
  await node(
    site,
    bin('vite'),
    'build',
    app,
    '--outDir',
    out,
    '--emptyOutDir',
    '--logLevel',
    'warn',
  )
}

const webpack5: Builder = async ({ app, out }) => {
  const stats = await new Promise<webpack.Stats | undefined>((resolve, reject) =>
    webpack(
      { mode: 'production', context: app, entry: './main.js', output: { path: out } },
      (error, stats) => (error ? reject(error) : resolve(stats)),
    ),
  )
  if (stats?.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }))
  writeFileSync(join(out, 'index.html'), page('<script defer src="./main.js"></script>'))
}

const esbuild: Builder = async ({ app, out, site, worker }) => {
  await build({
    // `spawn` expects entry.js beside the bundle, to start it as a worker
    entryPoints: {
      main: join(app, 'main.js'),
      ...(worker && { entry: 'x-transformers/worker/entry' }),
    },
    absWorkingDir: site,
    bundle: true,
    format: 'esm',
    splitting: true,
    minify: true,
    outdir: out,
  })
  // and WebAssembly is expected in pkg there
  const from = join(site, 'node_modules/x-transformers/dist/esm/wasm/pkg')
  mkdirSync(join(out, 'pkg'))
  for (const name of readdirSync(from))
    if (name.endsWith('.wasm')) cpSync(join(from, name), join(out, 'pkg', name))
  writeFileSync(join(out, 'index.html'), page(MODULE))
}

export const BUILDERS = { Vite: vite, webpack: webpack5, esbuild }
