/**
 * The transformer library x-transformers for TypeScript, in the browser: ready once it is imported.
 *
 * @packageDocumentation
 */
import './ready.js'

export * from './index.js'
