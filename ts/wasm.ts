/**
 * The library for pages that place the WebAssembly file themselves: all of `x-transformers`, usable
 * once `init` has ended.
 *
 * @example
 * import { Decoder, init } from 'x-transformers/wasm'
 *
 * await init({ url: '/assets/x-transformers.wasm' })
 * const layers = new Decoder({ dim: 64, depth: 2 })
 *
 * @packageDocumentation
 */

export { init } from '#native'
export * from './index.js'
