// What a page gets of the package for an import, in bytes after minification and brotli. The
// WebAssembly files, which are loaded apart, have limits in lint.test.ts.

/** Pages wait for WebAssembly at the top level of a module, which scripts cannot. */
const modifyEsbuildConfig = (config) => ({ ...config, format: 'esm', external: ['*.wasm'] })

const dist = (path) => `../../dist/${path}`
const page = dist('esm/index.browser.js')

export default [
  { name: 'everything', path: page, limit: '46.5 kB' },
  { name: 'tensors', path: page, import: '{ tensor }', limit: '17.4 kB' },
  {
    name: 'a model',
    path: page,
    import: '{ AutoregressiveWrapper, Decoder, TransformerWrapper }',
    limit: '37.6 kB',
  },
  {
    name: 'a model in a worker',
    path: dist('esm/worker.js'),
    import: '{ spawn }',
    limit: '10.7 kB',
  },
  { name: 'Hugging Face', path: dist('esm/huggingface/index.js'), limit: '74 kB' },
  { name: 'the script of the worker', path: dist('esm/worker/entry.js'), limit: '50.6 kB' },
  { name: 'workerd', path: dist('edge/workerd/index.js'), limit: '45.6 kB' },
].map((check) => ({ ...check, modifyEsbuildConfig }))
