/**
 * The transformer library x-transformers for TypeScript, in the browser: ready once it is imported.
 *
 * @packageDocumentation
 */
import './native/ready.browser.js'

export * from './index.js'
