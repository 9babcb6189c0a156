import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, load, type ModelDescription, type Module } from 'x-transformers'
import { closest } from '../closest.js'
import type { InspectSettings } from '../commands/inspect.js'
import { checkModel } from '../config/check.js'
import { readPreset } from '../config/presets.js'
import type { ModelConfig } from '../config/schema.js'
import { UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { bytes, count, short, table } from '../format.js'
import { readJson } from '../json.js'
import { Output } from '../output.js'
import { tokenizerOf } from '../text/tokenizer.js'
import { buildModel, completeModel } from './build.js'
import { modelFile } from './files.js'
import { type Costs, costsOf } from './flops.js'
import { type OptionDoc, readOptionDocs } from './option-docs.js'

/** Looks at a model, or at options: `x-transformers inspect`. */
export async function inspect(path: string | undefined, settings: InspectSettings): Promise<void> {
  const output = new Output(settings.json)
  if (settings.options !== undefined) return listOptions(settings.options, output)
  if (path === undefined && settings.preset === undefined)
    throw new UsageError('give a model, a configuration, --preset, or --options')
  const model = await modelOf(path, settings)
  const description = describe(model)
  const length = settings.length ?? lengthOf(description)
  const costs = costsOf(description, length)
  const used = optionsOf({ class: description.class, options: description.options as Options })
  const { class: name, num_parameters, parameters } = description
  output.result(
    { class: name, options: description.options, num_parameters, parameters, length, ...costs },
    [
      String(model),
      '',
      renderNumbers(description, costs, length, settings.batch),
      '',
      'options',
      table(used),
    ].join('\n'),
  )
}

type Options = Record<string, unknown>

/** Makes the model of a configuration; a trained one is read. */
async function modelOf(path: string | undefined, { preset }: InspectSettings): Promise<Module> {
  if (path === undefined) return await made(readPreset(preset as string), `the preset ${preset}`)
  if (path.endsWith('.json')) return await made(readJson(path, 'the configuration'), path)
  const isUntrained =
    existsSync(path) && statSync(path).isDirectory() && existsSync(join(path, FILES.config))
  try {
    return await load(modelFile(path))
  } catch (error) {
    if (!isUntrained) throw error
    return await made(readJson(join(path, FILES.config), 'the configuration'), path)
  }
}

/** The sizes that a configuration leaves to the data: those of bytes. */
const ASSUMED = { num_tokens: 256, length: 256 }

async function made(raw: unknown, where: string): Promise<Module> {
  const { model: given, config } = checkModel(raw, where)
  if (!isLanguageModel(given)) return buildModel(given)
  const known = given.options.net as ModelConfig | undefined
  const sized = (known?.options ?? given.options).num_tokens as number | undefined
  const tokenizer = sized ? null : await tokenizerOf(where)
  const num_tokens = sized ?? tokenizer?.vocabSize ?? ASSUMED.num_tokens
  const length = config?.train.length ?? ASSUMED.length
  return buildModel(completeModel(given, { num_tokens, length }))
}

function isLanguageModel({ class: name, options }: ModelConfig): boolean {
  const net = options.net as ModelConfig | undefined
  return name === 'TransformerWrapper' || net?.class === 'TransformerWrapper'
}

/** The longest row of a model. */
function lengthOf({ options }: ModelDescription): number {
  const find = (value: unknown): number | null => {
    if (typeof value !== 'object' || value === null) return null
    const own = (value as Options).max_seq_len
    if (typeof own === 'number' && own > 0) return own
    return (
      Object.values(value)
        .map(find)
        .find((found) => found !== null) ?? null
    )
  }
  return find(options) ?? 1024
}

function renderNumbers(
  { num_parameters }: ModelDescription,
  costs: Costs,
  length: number,
  batch: number,
): string {
  const { weights_bytes, gradients_bytes, adamw_bytes, kept_bytes_per_token } = costs
  const state = weights_bytes + gradients_bytes + adamw_bytes
  return table([
    ['parameters', `${count(num_parameters)} (${short(num_parameters)})`],
    ['memory of the weights', bytes(weights_bytes)],
    ['in training', `${bytes(state)} with gradients and the averages of AdamW, activations apart`],
    ['forward', `${short(costs.forward_flops_per_token)} operations for a token of ${length}`],
    [
      'step of training',
      `${short(costs.train_flops_per_token * batch * length)} operations for ${batch} x ${length} tokens`,
    ],
    ['generation', `${bytes(kept_bytes_per_token)} of keys and values for each token`],
  ])
}

/** The options of a model and of those within, with what they do. */
function optionsOf(model: { class: string; options: Options }): string[][] {
  const docs = readOptionDocs()
  const rows = Object.entries(model.options).flatMap(([key, value]) => {
    const inner = value as { class?: unknown; options?: Options } | null
    if (typeof inner?.class === 'string')
      return optionsOf({ class: inner.class, options: inner.options ?? {} })
    const doc = docs.get(model.class)?.find(({ name }) => name === key)
    return [[`${model.class}.${key}`, JSON.stringify(value), doc?.text ?? '']]
  })
  return rows
}

function listOptions(asked: string | true, output: Output): void {
  const docs = readOptionDocs()
  const names = [...docs.keys()]
  if (asked === true) {
    output.result(names, names.join('\n'))
    return
  }
  const found = docs.get(asked)
  if (!found) {
    const near = closest(asked, names)
    const hint = near ? `did you mean ${near}?` : 'inspect --options lists the names'
    throw new UsageError(`there are no options of ${asked}; ${hint}`)
  }
  const row = ({ name, type, default: value, text }: OptionDoc) => [name, type, value, text]
  output.result(found, table([['option', 'type', 'default', 'what it does'], ...found.map(row)]))
}
