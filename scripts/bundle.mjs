// What Node loads of the package, in as few files as can be: to find, read and wrap one for each
// module takes longer than to run them all.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { Failure, root } from './lib.mjs'
import { licencesOf } from './licences.mjs'

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

/** Packages that only some users install: imported when they are needed, from where the user is. */
const OPTIONAL = {
  name: 'optional',
  setup(build) {
    build.onResolve({ filter: /^@huggingface\/(jinja|tokenizers)$/ }, ({ path }) => ({
      path,
      external: true,
    }))
  },
}

/** In an ES module esbuild gives `require` another name; tracers look for this one. */
const plainRequires = (text) => text.replaceAll('__require(', 'require(')

/** `train/index`, an entry within a folder. */
const isPart = (entry) => entry.includes('/')

/** Entries of their own: the others are not to have what is in them, such as a whole page. */
const LARGE = ['report/index', 'huggingface/index']

/**
 * Each of these entries counts as one that imports the library and the others of them. What two or
 * more entries have in common, esbuild writes into one file for each set of entries: so there are
 * few, what the library consists of, and what these have in common beside it.
 */
const together = (parts, main) => ({
  name: 'together',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^together:/ }, ({ path }) => ({ path, namespace: 'together' }))
    onLoad({ filter: /./, namespace: 'together' }, ({ path }) => {
      const all = [main, ...parts]
        .filter((entry) => !LARGE.includes(entry))
        .map((entry) => `import './${entry}.ts'\n`)
        .join('')
      const contents = `${all}export * from './${path.slice('together:'.length)}.ts'\n`
      return { contents, resolveDir: join(root, 'ts'), loader: 'ts' }
    })
  },
})

/** Entry points as esbuild takes them. */
const entryPoints = (entries, name = (entry) => entry) =>
  entries.map((entry) => ({
    in: isPart(entry) ? `together:${entry}` : join(root, 'ts', `${entry}.ts`),
    out: name(entry),
  }))

/**
 * The names of the files with what entries have in common: `shared.js`, which the library needs,
 * `training.js`, which the worker needs too, and `parts.js`.
 */
function chunkNames(outputs, main) {
  const chunks = Object.keys(outputs).filter((path) => /(^|\/)chunk-\w+\.js$/.test(path))
  const neededBy = (entry) => (outputs[entry]?.imports ?? []).map(({ path }) => path)
  const [library, worker] = [main, join(dirname(main), 'worker.js')].map(neededBy)
  const nameOf = (path) => {
    if (library.includes(path)) return 'shared'
    return worker.includes(path) ? 'training' : 'parts'
  }
  const names = chunks.map((path) => [basename(path), nameOf(path)])
  if (new Set(names.map(([, name]) => name)).size === names.length) return names
  throw new Failure(`Entries have more files in common than there are names: ${chunks}.`)
}

/** Writes what esbuild has made into a folder, with plain names of the chunks. */
async function writeOutputs({ outputFiles, metafile }, folder, main, change = (text) => text) {
  const place = relative(root, join(folder, main)).replaceAll('\\', '/')
  const names = chunkNames(metafile.outputs, place)
  const renamed = (text) =>
    names.reduce((all, [chunk, name]) => all.replaceAll(chunk, `${name}.js`), text)
  for (const { path, text } of outputFiles) {
    const file = renamed(path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, await change(renamed(text)))
  }
}

/**
 * Writes the modules `entries` of ts/ into a folder, as CommonJS, and beside them what they have in
 * common: so every class and every list exists once.
 */
export async function bundle(entries, folder) {
  // only when it is needed: this script is there before any package is
  const esbuild = await import('esbuild')
  const result = await esbuild.build({
    ...SETTINGS,
    entryPoints: entryPoints(entries),
    // its paths say what `#native` and `#worker` are in Node
    tsconfig: join(root, 'tsconfig.json'),
    // what package.json says of side effects, it says of dist/esm
    ignoreAnnotations: true,
    bundle: true,
    plugins: [APART, OPTIONAL, together(entries.filter(isPart), 'index')],
    // it knows how to split ES modules alone
    splitting: true,
    format: 'esm',
    chunkNames: 'chunk-[hash]',
    outdir: folder,
    write: false,
    metafile: true,
    absWorkingDir: root,
  })
  const asCommonJs = async (text) => {
    const { code } = await esbuild.transform(plainRequires(exportValues(text)), {
      ...SETTINGS,
      format: 'cjs',
      // without what plainRequires has left over
      treeShaking: true,
      banner: "'use strict';",
    })
    return code
  }
  await writeOutputs(result, folder, 'index.js', asCommonJs)
}

/** What edge runtimes call the compiled file. */
const MODULES = {
  workerd: '../../esm/wasm/pkg/x-transformers.wasm',
  'edge-light': '../../esm/wasm/pkg/x-transformers.wasm?module',
}

const EVENT_LOOP = join(root, 'ts/wasm/event-loop.edge.ts')

/**
 * Writes the modules of each edge runtime, `wasm` and `parts` of ts/, into a folder of its name.
 * They compile no WebAssembly themselves: they import the compiled file, each in its own way.
 */
export async function bundleEdge(parts, folder) {
  const esbuild = await import('esbuild')
  for (const [name, path] of Object.entries(MODULES)) {
    const links = {
      name: 'links',
      setup: ({ onResolve }) => {
        onResolve({ filter: /^#module$/ }, () => ({ path, external: true }))
        onResolve({ filter: /\/event-loop\.js$/ }, () => ({ path: EVENT_LOOP }))
      },
    }
    const into = join(folder, name)
    const nameOf = (entry) => (isPart(entry) ? dirname(entry) : 'index')
    const result = await esbuild.build({
      ...SETTINGS,
      platform: 'neutral',
      target: 'es2022',
      entryPoints: entryPoints(['wasm', ...parts], nameOf),
      tsconfig: join(root, 'tsconfig.edge.json'),
      ignoreAnnotations: true,
      bundle: true,
      plugins: [links, OPTIONAL, together(parts, 'wasm')],
      splitting: true,
      format: 'esm',
      chunkNames: 'chunk-[hash]',
      outdir: into,
      write: false,
      metafile: true,
      absWorkingDir: root,
    })
    await writeOutputs(result, into, 'index.js')
  }
}

/**
 * Modules of Node and of this package as `require` has them: where a subcommand imports them, they
 * are loaded when it is called. `import` would load them all when the command starts. The library's
 * classes are the same either way.
 */
const REQUIRED = {
  name: 'required',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:|x-transformers(\/|$))/ }, ({ path, namespace }) =>
      namespace === 'required' ? { path, external: true } : { path, namespace: 'required' },
    )
    onLoad({ filter: /./, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)})`,
      loader: 'js',
    }))
  },
}

/** What `require` is in an ES module. */
const HEAD = `#!/usr/bin/env node
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)`

/**
 * Writes the command and all libraries that it uses into one file, and their licences beside it.
 */
export async function bundleCommand(folder) {
  const esbuild = await import('esbuild')
  const result = await esbuild.build({
    ...SETTINGS,
    entryPoints: [{ in: join(root, 'packages/cli/src/main.ts'), out: 'cli' }],
    tsconfigRaw: {},
    bundle: true,
    plugins: [REQUIRED],
    format: 'esm',
    banner: { js: HEAD },
    outExtension: { '.js': '.mjs' },
    outdir: folder,
    metafile: true,
    absWorkingDir: root,
  })
  chmodSync(join(folder, 'cli.mjs'), 0o755)
  const licences = licencesOf(Object.keys(result.metafile.inputs), 'dist/cli.mjs')
  writeFileSync(join(folder, 'cli.licences.txt'), licences)
}
