/** Where a configuration comes from: a file, a preset, or an earlier run. */
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { TrainSettings } from '../commands/train.js'
import { UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { readJson } from '../json.js'
import { checkpointsIn, modelFile, tokenizerFile } from '../model/files.js'
import { checkConfig, shown } from './check.js'
import { readPreset } from './presets.js'
import type { Config } from './schema.js'
import { applySetting } from './set.js'

type Raw = Record<string, unknown>

/** A configuration in a file; its paths are relative to it. */
function readFile(path: string): Raw {
  const raw = readJson(path, 'the configuration')
  if (!isObject(raw)) throw new UsageError(`${path}: it must be an object, got ${shown(raw)}`)
  return withPaths(raw, dirname(resolve(path)))
}

const isObject = (value: unknown): value is Raw =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A configuration with absolute paths; the others are relative to a folder. */
function withPaths(raw: Raw, folder: string): Raw {
  const absolute = (value: unknown): unknown => {
    if (typeof value === 'string' && value !== '') return resolve(folder, value)
    return Array.isArray(value) ? value.map(absolute) : value
  }
  const { tokenizer, init, data } = raw
  const isFile = typeof tokenizer === 'string' && isPath(tokenizer)
  return {
    ...raw,
    ...(init !== undefined && { init: absolute(init) }),
    ...(isFile && { tokenizer: absolute(tokenizer) }),
    ...(isObject(data) && {
      data: { ...data, files: absolute(data.files), validation: absolute(data.validation) },
    }),
  }
}

/** Whether it is the path of a tokenizer, and not the name of a kind. */
export const isPath = (tokenizer: string) => !['char', 'byte', 'bpe'].includes(tokenizer)

/** The part of a configuration that is changed, as an object. */
function part(raw: Raw, name: string): Raw {
  raw[name] = { ...((raw[name] as Raw | undefined) ?? {}) }
  return raw[name] as Raw
}

/** What the command line says beside the configuration. */
function applyOptions(raw: Raw, settings: TrainSettings): void {
  const { data, validation, tokenizer, init, steps, minutes, seed, set } = settings
  if (seed !== undefined) raw.seed = seed
  if (tokenizer !== undefined) raw.tokenizer = tokenizer
  if (init !== undefined) raw.init = init
  if (data) part(raw, 'data').files = data
  if (validation !== undefined) {
    const share = Number(validation)
    part(raw, 'data').validation = Number.isFinite(share) ? share || null : [validation]
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
  const [given, where] = saved
    ? [readFile(saved), saved]
    : file === undefined
      ? [presetOf(settings), `the preset ${settings.preset}`]
      : [readFile(file), file]
  const { init } = given
  applyOptions(given, settings)
  const raw = withPaths(given, process.cwd())
  if (saved && raw.init !== init) refuseOtherInit(settings, init)
  takeTokenizer(raw)
  return checkConfig(raw, where)
}

/** A run that has begun cannot begin with another model. */
function refuseOtherInit({ out }: TrainSettings, init: unknown): void {
  if (out === undefined || checkpointsIn(out).length === 0) return
  throw new UsageError(`the run in ${out} has begun with ${init ?? 'a new model'}, not with --init`)
}

/** What begins with a model has its tokenizer, where the configuration names none. */
function takeTokenizer(raw: Raw): void {
  const { init, tokenizer } = raw
  if (typeof init !== 'string' || init === '' || tokenizer !== undefined) return
  const own = tokenizerFile(modelFile(init))
  if (own !== null) raw.tokenizer = own
}

function presetOf({ preset, resume, out }: TrainSettings): Raw {
  if (preset !== undefined) return readPreset(preset)
  if (resume && out !== undefined)
    throw new UsageError(`there is no run in ${out}: give a configuration or --preset to begin one`)
  throw new UsageError('give a configuration or --preset; --presets lists them')
}
