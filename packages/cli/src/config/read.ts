/** Where a configuration comes from: a file, a preset, or an earlier run. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { TrainSettings } from '../commands/train.js'
import { fileFailure, UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { checkConfig } from './check.js'
import { readPreset } from './presets.js'
import type { Config } from './schema.js'
import { applySetting } from './set.js'

type Raw = Record<string, unknown>

/** The JSON of a file. */
export function readJson(path: string, what: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw fileFailure(what, path, error)
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${path} is no JSON: ${(error as Error).message}`)
  }
}

/** A configuration in a file; its paths are relative to it. */
function readFile(path: string): Raw {
  const raw = readJson(path, 'the configuration') as Raw
  const folder = dirname(resolve(path))
  const data = raw.data as Raw | undefined
  const absolute = (value: unknown): unknown => {
    if (typeof value === 'string') return resolve(folder, value)
    return Array.isArray(value) ? value.map(absolute) : value
  }
  if (typeof raw.tokenizer === 'string' && isPath(raw.tokenizer))
    raw.tokenizer = absolute(raw.tokenizer)
  if (typeof data !== 'object' || data === null) return raw
  return {
    ...raw,
    data: { ...data, files: absolute(data.files), validation: absolute(data.validation) },
  }
}

const isPath = (tokenizer: string) => !['char', 'byte', 'bpe'].includes(tokenizer)

/** The part of a configuration that is changed, as an object. */
function part(raw: Raw, name: string): Raw {
  raw[name] = { ...((raw[name] as Raw | undefined) ?? {}) }
  return raw[name] as Raw
}

/** What the command line says beside the configuration. */
function applyOptions(raw: Raw, settings: TrainSettings): void {
  const { data, validation, tokenizer, steps, minutes, seed, set } = settings
  if (seed !== undefined) raw.seed = seed
  if (tokenizer !== undefined) raw.tokenizer = isPath(tokenizer) ? resolve(tokenizer) : tokenizer
  if (data) part(raw, 'data').files = data.map((path) => resolve(path))
  if (validation !== undefined) {
    const share = Number(validation)
    part(raw, 'data').validation = Number.isFinite(share) ? share || null : [resolve(validation)]
  }
  const end = steps === undefined ? minutes && { seconds: minutes * 60 } : { steps }
  if (end) {
    const { steps: _, epochs: __, seconds: ___, ...train } = part(raw, 'train')
    raw.train = { ...train, ...end }
  }
  for (const setting of set ?? []) applySetting(raw, setting)
}

/** The configuration of a run that is to be resumed, where there is one. */
const savedConfig = ({ resume, out }: TrainSettings): string | null => {
  const path = out && join(out, FILES.config)
  return resume && path && existsSync(path) ? path : null
}

/** The configuration that the command line asks for, with its changes. */
export function readConfig(file: string | undefined, settings: TrainSettings): Config {
  if (file !== undefined && settings.preset !== undefined)
    throw new UsageError('give a configuration or --preset, not both')
  const saved = savedConfig(settings)
  const [raw, where] = saved
    ? [readFile(saved), saved]
    : file === undefined
      ? [presetOf(settings), `the preset ${settings.preset}`]
      : [readFile(file), file]
  applyOptions(raw, settings)
  return checkConfig(raw, where)
}

function presetOf({ preset, resume, out }: TrainSettings): Raw {
  if (preset !== undefined) return readPreset(preset)
  if (resume && out !== undefined)
    throw new UsageError(`there is no run in ${out}: give a configuration or --preset to begin one`)
  throw new UsageError('give a configuration or --preset; --presets lists them')
}
