/**
 * What the objects of this library tell of themselves, to other copies of the library too. Nothing
 * here may need the native side.
 */
import { VERSION } from './version.js'

/** The same symbol in every copy and every realm. */
export const BRAND: unique symbol = Symbol.for('x-transformers.brand') as never

/**
 * One loading of the library: a second installation is another one, and so is the same file in
 * another realm.
 */
export interface Copy {
  readonly version: string
  /** The file or address of its code. */
  readonly place: string
}

/** What an object is, and of which copy. */
export interface Brand {
  /** In words, with the article: `a Tensor`. */
  readonly is: string
  readonly copy: Copy
  /** Whether it is for models in a worker, or there. */
  readonly remote: boolean
}

/** A name with its article. */
export const withArticle = (name: string) => `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`

/** This copy. */
export const COPY: Copy = {
  version: VERSION,
  get place() {
    return placeOfThisFile()
  },
}

/** The brand of an object of this copy. */
export const brand = (is: string, remote = false): Brand => ({ is, copy: COPY, remote })

/** The brand of a value of any copy; null for everything else. */
export function brandOf(value: unknown): Brand | null {
  if (typeof value !== 'object' || value === null) return null
  const told = (value as { [BRAND]?: Partial<Brand> })[BRAND]
  return typeof told?.is === 'string' && typeof told.copy === 'object' ? (told as Brand) : null
}

/**
 * Whether it is of this library, and cannot be given to a model of this copy: it is of another
 * copy, or for a worker.
 */
export function isForeign(value: unknown): boolean {
  const told = brandOf(value)
  return told !== null && (told.copy !== COPY || told.remote === true)
}

/** What a value is, and what to do, where it is of another copy; null for everything else. */
export function otherCopy(value: unknown): string | null {
  const told = brandOf(value)
  if (told === null || told.copy === COPY) return null
  const [theirs, ours] = [told.copy.place, COPY.place]
  const two =
    theirs === ours && told.copy.version === VERSION
      ? `${ours} was loaded twice (by jest.resetModules(), say, or in a vm context of its own)`
      : `that one is ${told.copy.version} of ${theirs}, this one is ${VERSION} of ${ours}`
  return `${told.is} of another copy of x-transformers: ${two}. Make and use it with one copy`
}

/**
 * Where this code was loaded from. Neither `import.meta.url`, into which bundlers write the path of
 * the machine that they run on, nor a path that has to be handed in: the stack tells it, in every
 * engine.
 */
function placeOfThisFile(): string {
  // the file for Node is CommonJS
  if (typeof __filename === 'string') return packageOf(__filename)
  const lines = String(new Error().stack).split('\n')
  for (const line of lines) {
    // `at name (file:1:2)` or `at file:1:2` in V8, `name@file:1:2` elsewhere
    const found = /^\s*at .*?\((.+):\d+:\d+\)$|^\s*at (.+):\d+:\d+$|^[^@\s]*@(.+):\d+:\d+$/.exec(
      line,
    )
    const place = found?.[1] ?? found?.[2] ?? found?.[3]
    if (place) return packageOf(place)
  }
  return 'an unknown place'
}

/** The package's folder, where the file is in one; else, as in a bundle, the file. */
const packageOf = (file: string) =>
  file.replace(/[/\\](?:dist[/\\](?:cjs|esm)|ts)[/\\](?:shared|brand)\.[cm]?[jt]s(?:\?.*)?$/, '')
