// What Node loads of the package, in as few files as can be: to find, read and wrap one for each
// module takes longer than to run them all.
import { writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { root } from './lib.mjs'

/** Neither minified nor mapped: a stack trace shows lines that can be read. */
const SETTINGS = {
  platform: 'node',
  target: 'node20',
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
}

/**
 * An ES module as CommonJS. Its exports, which esbuild lists at the end, become values: a getter
 * for each, which esbuild would write, is a function to compile at the first look at it.
 */
function exportValues(text) {
  return text.replace(/^export \{\n([^}]*)\};\n$/m, (_, names) => {
    const pairs = names.replace(/(\S+) as (\w+)/g, '$2: $1')
    return `module.exports = {\n${pairs}};\nObject.defineProperty(module.exports, '__esModule', { value: true });\n`
  })
}

/**
 * What is not part of the bundle: addons, which are named in the same way from ts/native and from
 * dist/cjs, and the functions of WebAssembly, which scripts/typescript.mjs puts beside the bundle.
 */
const APART = {
  name: 'apart',
  setup(build) {
    build.onResolve({ filter: /\.node$|^@x-transformers\// }, ({ path }) => ({
      path,
      external: true,
    }))
    const functions = { path: './wasm/pkg/single.js', external: true }
    build.onResolve({ filter: /\/wasm\/pkg\/single\.js$/ }, () => functions)
  },
}

/** In an ES module esbuild gives `require` another name; tracers look for this one. */
const plainRequires = (text) => text.replaceAll('__require(', 'require(')

/**
 * Writes the modules `entries` of ts/ into a folder, as CommonJS, and beside them shared.js with
 * all that they have in common: so every class and every list exists once.
 */
export async function bundle(entries, folder) {
  // only when it is needed: this script is there before any package is
  const esbuild = await import('esbuild')
  const { outputFiles } = await esbuild.build({
    ...SETTINGS,
    entryPoints: entries.map((entry) => join(root, 'ts', `${entry}.ts`)),
    // its paths say what `#native` and `#worker` are in Node
    tsconfig: join(root, 'tsconfig.json'),
    // what package.json says of side effects, it says of dist/esm
    ignoreAnnotations: true,
    bundle: true,
    plugins: [APART],
    // it knows how to split ES modules alone
    splitting: true,
    format: 'esm',
    // a second shared file would have to have this name too, which is an error
    chunkNames: 'shared',
    outdir: folder,
    write: false,
  })
  for (const { path, text } of outputFiles) {
    const { code } = await esbuild.transform(plainRequires(exportValues(text)), {
      ...SETTINGS,
      format: 'cjs',
      // without what plainRequires has left over
      treeShaking: true,
      banner: "'use strict';",
    })
    writeFileSync(join(folder, basename(path)), code)
  }
}

/** What edge runtimes call the compiled file. */
const MODULES = {
  workerd: '../esm/wasm/pkg/x-transformers.wasm',
  'edge-light': '../esm/wasm/pkg/x-transformers.wasm?module',
}

const EVENT_LOOP = join(root, 'ts/wasm/event-loop.edge.ts')

/**
 * Writes a module for each edge runtime into a folder. They compile no WebAssembly themselves: they
 * import the compiled file, each in its own way.
 */
export async function bundleEdge(folder) {
  const esbuild = await import('esbuild')
  for (const [name, path] of Object.entries(MODULES)) {
    const links = {
      name: 'links',
      setup: ({ onResolve }) => {
        onResolve({ filter: /^#module$/ }, () => ({ path, external: true }))
        onResolve({ filter: /\/event-loop\.js$/ }, () => ({ path: EVENT_LOOP }))
      },
    }
    await esbuild.build({
      ...SETTINGS,
      platform: 'neutral',
      target: 'es2022',
      entryPoints: [join(root, 'ts/wasm.ts')],
      tsconfig: join(root, 'tsconfig.edge.json'),
      ignoreAnnotations: true,
      bundle: true,
      plugins: [links],
      format: 'esm',
      outfile: join(folder, `${name}.js`),
    })
  }
}
