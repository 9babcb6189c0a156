// The compiler for WebAssembly.
import { canBuildStd, compilerFor } from '../cross/rustc.mjs'

export const TARGET = 'wasm32-unknown-unknown'

/** What the threaded build needs of the standard library too. */
export const THREAD_FEATURES = '-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals,+simd128'

/**
 * The compiler for a build, as of `compilerFor`. The threaded build needs a library that was built
 * with atomics, which no toolchain brings: null where it cannot be had.
 */
export async function wasmCompiler({ threads }) {
  if (threads && !(await canBuildStd())) return null
  return await compilerFor(TARGET, {
    name: threads ? `${TARGET}-threads` : TARGET,
    features: 'compiler-builtins-mem',
    flags: threads ? THREAD_FEATURES : '',
  })
}
