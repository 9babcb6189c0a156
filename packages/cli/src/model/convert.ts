import { existsSync, statSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import {
  describe,
  load,
  loadTensors,
  type Module,
  type StateDict,
  saveTensors,
} from 'x-transformers'
import { writeTokens } from 'x-transformers/data'
import type { ConvertSettings } from '../commands/convert.js'
import { checkModel } from '../config/check.js'
import { isPath } from '../config/read.js'
import { Failure, UsageError } from '../errors.js'
import { FILES } from '../files.js'
import { count, table } from '../format.js'
import { readJson } from '../json.js'
import { Output } from '../output.js'
import { isLines, textsOfAll } from '../text/pieces.js'
import { makeTokenizer } from '../text/tokenizer.js'
import { readTokens } from '../text/tokens.js'
import { buildModel } from './build.js'
import { modelFile } from './files.js'

const isText = (path: string) => extname(path) === '.txt' || isLines(path)

/** Writes weights or text in another format: `x-transformers convert`. */
export async function convert(
  from: string,
  to: string | undefined,
  settings: ConvertSettings,
): Promise<void> {
  const output = new Output(settings.json)
  if (!existsSync(from)) throw new Failure(`there is no ${from}`)
  if (isText(from)) {
    takeOnly(settings, ['tokenizer', 'field', 'dtype'], 'for text')
    return await convertText(from, to, settings, output)
  }
  if (to === undefined) {
    takeOnly(settings, ['key', 'prefix'], 'without a file to write')
    return await listNames(from, settings, output)
  }
  const kind = extname(to)
  if (kind === '.json') {
    takeOnly(settings, [], 'for a configuration')
    return await writeConfig(from, to, output)
  }
  if (kind !== '.safetensors')
    throw new UsageError(
      `${to}: weights are written to .safetensors (which Python reads by safetensors.torch.load_file), a configuration to .json, text to .bin`,
    )
  if (settings.weights) {
    takeOnly(settings, ['weights', 'key', 'prefix', 'dtype'], 'with --weights')
    return await writeWeights(from, to, settings, output)
  }
  return await writeModel(from, to, settings, output)
}

/** An error about options that would be ignored. */
function takeOnly(
  { json: _, ...settings }: ConvertSettings,
  names: readonly (keyof ConvertSettings)[],
  where: string,
): void {
  const other = Object.keys(settings).find((name) => !names.includes(name as never))
  if (other) throw new UsageError(`--${other} has no effect ${where}: leave it out`)
}

/** A file, also where a run is named. */
const fileOf = (path: string) => (statSync(path).isDirectory() ? modelFile(path) : path)

async function readTensors(from: string, { key, prefix }: ConvertSettings): Promise<StateDict> {
  const { tensors } = await loadTensors(fileOf(from), key === undefined ? {} : { key })
  if (prefix === undefined) return tensors
  const cut = (name: string) => (name.startsWith(prefix) ? name.slice(prefix.length) : name)
  return new Map([...tensors].map(([name, tensor]) => [cut(name), tensor]))
}

async function listNames(from: string, settings: ConvertSettings, output: Output): Promise<void> {
  const tensors = await readTensors(from, settings)
  const list = [...tensors].map(([name, { shape, dtype }]) => ({ name, shape, dtype }))
  const rows = list.map(({ name, shape, dtype }) => [name, dtype, `[${shape.join(', ')}]`])
  output.result(list, table(rows))
}

/** Class and options, as a configuration has them. */
async function writeConfig(from: string, to: string, output: Output): Promise<void> {
  const { class: name, options } = describe(await load<Module>(fileOf(from)))
  const text = JSON.stringify({ model: { class: name, options } }, null, 2)
  writeFileSync(to, `${text}\n`)
  output.result({ written: to }, `${to} has the class and the options of ${name}.`)
}

async function writeWeights(
  from: string,
  to: string,
  settings: ConvertSettings,
  output: Output,
): Promise<void> {
  const dtype = floatType(settings)
  const tensors = await readTensors(from, settings)
  const typed = dtype
    ? new Map(
        [...tensors].map(([name, tensor]) => [name, isFloat(tensor) ? tensor.to(dtype) : tensor]),
      )
    : tensors
  await saveTensors(typed, to)
  output.result({ written: to, tensors: typed.size }, `${to} has ${count(typed.size)} tensors.`)
}

const isFloat = ({ dtype }: { dtype: string }) => /^b?f\d+$/.test(dtype)

function floatType({ dtype }: ConvertSettings): 'f32' | 'f16' | 'bf16' | undefined {
  if (dtype === 'u16' || dtype === 'u32')
    throw new UsageError(`--dtype ${dtype} is for token ids; weights are f32, f16 or bf16`)
  return dtype
}

/** The model of a file that says what it is, or of a configuration. */
async function writeModel(
  from: string,
  to: string,
  settings: ConvertSettings,
  output: Output,
): Promise<void> {
  if (settings.dtype)
    throw new UsageError('a whole model is written as f32: --dtype needs --weights')
  const { config, key, prefix } = settings
  if (config === undefined) takeOnly(settings, [], 'for a whole model without --config')
  takeOnly(settings, ['config', 'key', 'prefix'], 'for weights')
  const model = config === undefined ? await load<Module>(fileOf(from)) : modelIn(config)
  if (config !== undefined) {
    const options = { ...(key !== undefined && { key }), ...(prefix !== undefined && { prefix }) }
    await model.loadWeights(fileOf(from), options)
  }
  await model.save(to)
  const { class: name, num_parameters } = describe(model)
  output.result(
    { written: to, class: name, num_parameters },
    `${to} has ${name} with ${count(num_parameters)} parameters.`,
  )
}

/** The model of a configuration, or of a run; its sizes must all be there. */
function modelIn(path: string): Module {
  const isFolder = existsSync(path) && statSync(path).isDirectory()
  const file = isFolder ? join(path, FILES.config) : path
  return buildModel(checkModel(readJson(file, 'the configuration'), file).model)
}

/** Text as a file of token ids. */
async function convertText(
  from: string,
  to: string | undefined,
  settings: ConvertSettings,
  output: Output,
): Promise<void> {
  const { tokenizer: named, field = 'text', dtype = 'u16' } = settings
  if (to === undefined || extname(to) !== '.bin')
    throw new UsageError('text is written as token ids: name a file that ends in .bin')
  if (named === undefined) throw new UsageError('give --tokenizer: char, byte, or a tokenizer.json')
  if (dtype !== 'u16' && dtype !== 'u32')
    throw new UsageError(`--dtype ${dtype}: token ids are u16 or u32`)
  const reading = { field, dtype, separator: undefined }
  const tokenizer = await makeTokenizer(named, () => textsOfAll([from], reading))
  const tokens = await readTokens([from], tokenizer, reading)
  const ids = Array.from(await tokens.read(0, tokens.length))
  const written = await writeTokens(to, [ids], { dtype })
  // one that was made of the text is nowhere else
  if (!isPath(named))
    writeFileSync(`${to}.tokenizer.json`, `${JSON.stringify(tokenizer, null, 2)}\n`)
  output.result(
    { written: to, tokens: written, vocabulary: tokenizer.vocabSize, dtype },
    `${to} has ${count(written)} ids of ${count(tokenizer.vocabSize)} tokens, as ${dtype}.`,
  )
}
