/**
 * Indexes of checkpoints in several files: `model.safetensors.index.json`, and
 * `pytorch_model.bin.index.json`.
 */
import { XTransformersError } from '../errors.js'

/** Longest index that is read, in bytes. */
export const MAX_INDEX_BYTES = 64 * 1024 * 1024

/** What an index says. */
export class Index {
  constructor(
    /** File names, by the names of the tensors in them. */
    readonly files: ReadonlyMap<string, string>,
  ) {}

  /** Each file once. */
  get names(): string[] {
    return [...new Set(this.files.values())]
  }

  /**
   * Checks that every tensor has come.
   *
   * @throws XTransformersError (`invalid_checkpoint`)
   */
  check(tensors: { has(name: string): boolean }): void {
    const missing = [...this.files].filter(([name]) => !tensors.has(name))
    if (missing.length === 0) return
    const [[name, file]] = missing as [[string, string]]
    throw damaged(
      `the index says that tensor ${name} is in ${file}, and it is not there (${missing.length} are missing)`,
    )
  }
}

const damaged = (message: string) => new XTransformersError('invalid_checkpoint', message)

/**
 * Whether a file begins as JSON does; a safetensors file begins with the length of its header,
 * whose upper bytes are 0.
 */
export function isIndex(start: Uint8Array): boolean {
  const text = String.fromCharCode(...start.subarray(0, 16))
  return start.length >= 8 && /^\s*\{/.test(text) && !text.includes('\0')
}

/**
 * @throws XTransformersError (`invalid_checkpoint`) where it is no index, or names files outside
 * its folder
 */
export function parseIndex(bytes: Uint8Array): Index {
  const map = weightMap(bytes)
  for (const file of map.values()) {
    if (typeof file === 'string' && /^[^/\\:]+$/.test(file) && file !== '.' && file !== '..')
      continue
    throw damaged(
      `the index of this checkpoint names the file ${JSON.stringify(file)}, which cannot be beside it`,
    )
  }
  return new Index(map as Map<string, string>)
}

function weightMap(bytes: Uint8Array): Map<string, unknown> {
  try {
    const { weight_map: map } = JSON.parse(new TextDecoder().decode(bytes)) as {
      weight_map?: unknown
    }
    if (typeof map === 'object' && map !== null && !Array.isArray(map))
      return new Map(Object.entries(map))
  } catch (error) {
    throw new XTransformersError(
      'invalid_checkpoint',
      `this JSON is damaged: ${(error as Error).message}`,
      [],
      {
        cause: error,
      },
    )
  }
  throw damaged('this is JSON, but no index of a checkpoint: it has no weight_map')
}
