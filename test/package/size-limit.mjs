// What a page gets of the package for an import, in bytes after minification and brotli. The
// WebAssembly files, which are loaded apart, have limits in lint.test.ts.

/** Pages wait for WebAssembly at the top level of a module, which scripts cannot. */
const modifyEsbuildConfig = (config) => ({ ...config, format: 'esm', external: ['*.wasm'] })

const dist = (path) => `../../dist/${path}`
const page = dist('esm/index.browser.js')

export default [
  { name: 'everything', path: page, limit: '45.1 kB' },
  { name: 'tensors', path: page, import: '{ tensor }', limit: '17.3 kB' },
  {
    name: 'a model',
    path: page,
    import: '{ AutoregressiveWrapper, Decoder, TransformerWrapper }',
    limit: '36.1 kB',
  },
  {
    name: 'a model in a worker',
    path: dist('esm/worker.js'),
    import: '{ spawn }',
    limit: '10.4 kB',
  },
  { name: 'the script of the worker', path: dist('esm/worker/entry.js'), limit: '48.8 kB' },
  { name: 'workerd', path: dist('edge/workerd/index.js'), limit: '44.2 kB' },
].map((check) => ({ ...check, modifyEsbuildConfig }))
