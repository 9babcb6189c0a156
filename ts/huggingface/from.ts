import { checkFlag, checkList, checkOptions, refuse } from '../checks.js'
import { type ReadOptions, throwIfAborted } from '../control.js'
import type { TransformerWrapper } from '../models/index.js'
import type { GenerateOptions } from '../models/options.gen.js'
import type { Module } from '../module/module.js'
import { checkDevice, type Device } from '../tensor/device.js'
import type { PretrainedTokenizer } from '../tokenizers/pretrained.js'
import { build, buildHeads, type Heads, type HuggingFaceModel, modulesOf } from './build.js'
import type { Json } from './config/read.js'
import { type Described, describeConfig } from './describe.js'
import {
  type HuggingFaceSource,
  type ModelFiles,
  openFiles,
  readJSON,
  requireJSON,
} from './files.js'
import { readGeneration, type SpecialTokens } from './generation.js'
import { noteOrigin } from './origin.js'
import { readTokenizer, type TokenizerJSONFiles } from './tokenizer.js'
import { WeightFiles } from './weights/files.js'
import { checkLeftover, equal } from './weights/leftover.js'
import { loadAll, requireTensors } from './weights/load.js'
import { Naming } from './weights/naming.js'
import { placesOf } from './weights/places.js'

/** Options of {@link fromHuggingFace}. */
export interface FromHuggingFaceOptions extends ReadOptions {
  /**
   * Where the weights shall be.
   *
   * @default what `setDefaultDevice` has chosen, else 'cpu'
   */
  device?: Device | undefined
  /**
   * Whether the tokenizer is loaded where there is a tokenizer.json, for which the package
   * `@huggingface/tokenizers` is needed.
   *
   * @default true
   */
  tokenizer?: boolean | undefined
  /**
   * Names of settings of config.json and generation_config.json that are passed over: for those
   * that an error has named, and that change nothing that counts. Default: none.
   */
  ignore?: readonly string[] | undefined
}

/** What {@link fromHuggingFace} gives. */
export interface FromHuggingFace<M extends HuggingFaceModel = TransformerWrapper> {
  /** The model, in evaluation mode: call `train()` to train it. */
  model: M
  /** The heads of an encoder, by name. */
  heads: Heads
  /** The tokenizer, where there is a tokenizer.json. */
  tokenizer?: PretrainedTokenizer
  /** What `generate` takes, as generation_config.json asks for it. */
  generation: GenerateOptions
  /** The ids of special tokens. */
  tokens: SpecialTokens
  /** config.json, as it is. */
  config: Json
}

function checkIgnored(names: readonly string[] | null | undefined): ReadonlySet<string> {
  const list = checkList(names ?? [], 'ignore', 'names')
  for (const [i, name] of list.entries())
    if (typeof name !== 'string') throw refuse(`ignore[${i}]`, 'a string', name)
  return new Set(list)
}

/** What is asked for, checked. */
function checkFrom(options: FromHuggingFaceOptions | undefined) {
  const names = ['device', 'tokenizer', 'ignore', 'signal', 'on_progress']
  const own = checkOptions(options, 'fromHuggingFace()', names)
  const { device, tokenizer, ignore, ...reading } = own
  return {
    reading,
    device: device === undefined || device === null ? null : checkDevice(device),
    withTokenizer: checkFlag(tokenizer, 'tokenizer', true),
    ignored: checkIgnored(ignore),
  }
}

/**
 * Whether the head is the embedding: files may have both, and transformers ties those alone that
 * are equal.
 */
async function isTied(
  { family, found }: Described,
  files: WeightFiles,
  naming: Naming,
): Promise<boolean> {
  if (!family.tied || !found.tied) return false
  const [head, embedding] = [family.tied.head, family.tied.embedding].map((name) =>
    naming.inFile(name),
  ) as [string, string]
  if (!files.has(head) || !files.has(embedding)) return true
  return equal(await files.look(head), await files.look(embedding))
}

/** A model and its heads with the weights of files, and what these were called. */
interface Loaded {
  model: HuggingFaceModel
  heads: Heads
  names: ReadonlyMap<string, string>
}

async function loadWeights(
  files: WeightFiles,
  json: Json,
  ignored: ReadonlySet<string>,
): Promise<Loaded> {
  const first = describeConfig(json, ignored)
  const naming = new Naming(files.names, first.family, first.found.tied)
  const tied = await isTied(first, files, naming)
  const described = describeConfig(json, ignored, { has: (name) => naming.has(name), tied })
  const model = build(described.plan)
  const made: Module[] = [model]
  try {
    const heads = buildHeads(described, model)
    made.push(...modulesOf(heads))
    const places = placesOf(described, model, heads)
    const steps = places.flatMap(({ steps }) => steps)
    requireTensors(files, naming, steps)
    const theirs = steps.flatMap(({ theirs }) => theirs)
    const used = new Set(theirs.map((name) => naming.inFile(name)))
    if (tied && described.family.tied) used.add(naming.inFile(described.family.tied.head))
    await checkLeftover(described.family, used, files, naming)
    await loadAll(places, files, naming)
    return { model, heads, names: new Map(theirs.map((name) => [name, naming.inFile(name)])) }
  } catch (error) {
    for (const module of made) module.dispose()
    throw error
  }
}

/** The weights, which are freed where something else fails. */
async function load(
  files: ModelFiles,
  json: Json,
  { reading, device, ignored }: ReturnType<typeof checkFrom>,
): Promise<Loaded> {
  // before anything large is read
  describeConfig(json, ignored)
  const weights = await WeightFiles.open(files, reading)
  const made: Module[] = []
  try {
    const loaded = await loadWeights(weights, json, ignored)
    made.push(loaded.model, ...modulesOf(loaded.heads))
    for (const module of made) {
      if (device !== null) module.to(device)
      module.eval()
    }
    weights.end()
    throwIfAborted(reading.signal)
    return loaded
  } catch (error) {
    for (const module of made) module.dispose()
    throw error
  } finally {
    weights.dispose()
  }
}

/**
 * A model of Hugging Face: `config.json` and weights (`model.safetensors`, `pytorch_model.bin`, or
 * several such files with their index) as a model of this package, with what comes along.
 *
 * - a decoder, such as Llama or GPT-2: a `TransformerWrapper`, whose `forward(ids)` gives logits,
 *   or the last hidden state for a class without a head, such as `LlamaModel`
 * - an encoder, such as BERT: a `TransformerWrapper`, whose `forward(ids, { mask, embed_ids })`
 *   gives the last hidden state, and `heads` by name
 * - ViT: a `ViTransformerWrapper`; T5: an `XTransformer`
 *
 * TypeScript takes it for a `TransformerWrapper`; another class is named:
 * `fromHuggingFace<XTransformer>(folder)`.
 *
 * The numbers are those of Python's `transformers`. Weights become f32, one tensor after the other.
 *
 * @param source a folder, an address that ends in `/`, or the files by name: see
 *   {@link HuggingFaceSource}
 * @throws XTransformersError (`not_available`) for a family or a setting that is not covered, by
 *   name; (`file`, `invalid_checkpoint`) where a file is missing or damaged, or the files do not go
 *   together; (`out_of_memory`)
 * @example
 * const { model, tokenizer, generation } = await fromHuggingFace('SmolLM2-135M')
 * const writer = new AutoregressiveWrapper(model)
 * const prompt = [tokenizer?.encode('Call me') ?? []]
 * const tokens = await writer.generate(prompt, 20, generation)
 */
export async function fromHuggingFace<M extends HuggingFaceModel = TransformerWrapper>(
  source: HuggingFaceSource,
  options: FromHuggingFaceOptions = {},
): Promise<FromHuggingFace<M>> {
  const asked = checkFrom(options)
  const { signal } = asked.reading
  const quiet: ReadOptions = signal ? { signal } : {}
  const files = await openFiles(source)
  const config = await requireJSON(files, 'config.json', quiet)
  const json = await readJSON(files, 'generation_config.json', quiet)
  const { options: generation, tokens } = readGeneration(json, config, asked.ignored)
  const tokenizer = asked.withTokenizer ? await readTokenizer(files, quiet) : null
  const { model, heads, names } = await load(files, config, asked)
  const kept: TokenizerJSONFiles | null = tokenizer?.files ?? null
  const { ignored } = asked
  noteOrigin(model, { config, generation: json, names, heads, ignored, tokenizer: kept })
  return {
    ...{ model: model as M, heads, generation, tokens, config },
    ...(tokenizer && { tokenizer: tokenizer.tokenizer }),
  }
}
