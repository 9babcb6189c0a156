/// <reference lib="esnext.disposable" preserve="true" />
// The line above goes into the published types: it declares Symbol.dispose for programs whose `lib`
// does not.

// `using` looks for Symbol.dispose when it runs, `await using` for Symbol.asyncDispose too; the
// first releases of Node 20 and some browsers do not have them yet.
if (!Symbol.dispose) {
  Object.defineProperty(Symbol, 'dispose', { value: Symbol.for('Symbol.dispose') })
}
if (!Symbol.asyncDispose) {
  Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol.for('Symbol.asyncDispose') })
}

/** Where an object keeps what only this library may touch. */
export const HANDLE: unique symbol = Symbol('x-transformers.handle')
/**
 * The model itself: behind a Proxy around it, `this` is the Proxy, which has no private members.
 */
export const SELF: unique symbol = Symbol('x-transformers.self')
/** The gates of all weights of a model. */
export const GATES: unique symbol = Symbol('x-transformers.gates')
/** Node prints an object with the method of this name. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never
/** What an object is for the encoding of arguments; models tell it without being imported there. */
export const NATIVE_MODULE: unique symbol = Symbol('x-transformers.native-module')
/**
 * The value of a property that `structuredClone`, `postMessage` and IndexedDB refuse, in place of
 * making an empty object of an instance. Their `DataCloneError` has its text.
 */
export const uncloneable = (text: string): symbol => Symbol(text)
