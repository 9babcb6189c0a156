/// <reference types="vite/client" />
/** Models that Python's transformers has recorded (test/huggingface), on every platform. */
import type { Source } from 'x-transformers'
import { FakeFile } from './bytes.js'

const cases = import.meta.glob<Recorded>('../huggingface/*.json', { import: 'default' })
const weights = import.meta.glob<string>('../huggingface/**/*.{safetensors,bin}', {
  query: '?url&inline',
  import: 'default',
})
const texts = import.meta.glob<object>('../huggingface/{sharded,pickled}/*.json', {
  import: 'default',
})

type Json = Record<string, unknown>

/** A case: test/huggingface/README.md. */
export interface Recorded {
  case: string
  class: string
  weights: string
  config: Json
  published_config: Json
  // biome-ignore lint/suspicious/noExplicitAny: nested lists of numbers under many names
  forward: any
  // biome-ignore lint/suspicious/noExplicitAny: as above
  [more: string]: any
}

const nameOf = (path: string) => path.replace(/^.*\//, '')

/** The names of all cases. */
export const CASES: readonly string[] = Object.keys(cases)
  .map((path) => nameOf(path).replace(/\.json$/, ''))
  .sort()

export async function recordedCase(name: string): Promise<Recorded> {
  const found = await cases[`../huggingface/${name}.json`]?.()
  if (found === undefined) throw new Error(`there is no case ${name} in test/huggingface`)
  return structuredClone(found)
}

/** The bytes of a file of weights, by its path in test/huggingface. */
export async function weightsFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const address = await weights[`../huggingface/${path}`]?.()
  if (address === undefined) throw new Error(`there is no ${path} in test/huggingface`)
  return new Uint8Array(await (await fetch(address)).arrayBuffer())
}

export const jsonBytes = (json: unknown) => new TextEncoder().encode(JSON.stringify(json))

/** The files of a case, as a folder of Hugging Face has them. */
export async function filesOf(
  { config, weights }: Recorded,
  other: Json = {},
): Promise<Record<string, Source>> {
  return {
    'config.json': jsonBytes({ ...config, ...other }),
    'model.safetensors': await weightsFile(weights),
  }
}

/** All files of `sharded` or `pickled`, by name. */
export async function folderOf(folder: 'sharded' | 'pickled'): Promise<Record<string, Source>> {
  const prefix = `../huggingface/${folder}/`
  const files: Record<string, Source> = {}
  for (const [path, json] of Object.entries(texts))
    if (path.startsWith(prefix)) files[nameOf(path)] = jsonBytes(await json())
  for (const path of Object.keys(weights))
    if (path.startsWith(prefix))
      files[nameOf(path)] = await weightsFile(`${folder}/${nameOf(path)}`)
  return files
}

/** A folder in memory. */
export class Folder {
  readonly files = new Map<string, FakeFile>()

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    const file = this.files.get(name) ?? (create ? new FakeFile() : null)
    if (file === null) throw new DOMException('not there', 'NotFoundError')
    this.files.set(name, file)
    return file
  }

  async removeEntry(name: string): Promise<void> {
    if (!this.files.delete(name)) throw new DOMException('not there', 'NotFoundError')
  }

  /** The files, to be loaded again. */
  get sources(): Map<string, Uint8Array> {
    return new Map([...this.files].map(([name, { content }]) => [name, content]))
  }

  json(name: string): Record<string, unknown> {
    return JSON.parse(new TextDecoder().decode(this.files.get(name)?.content))
  }
}
