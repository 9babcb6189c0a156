/** New models of the families, for training from scratch. */
import { checkOptions, isRecord, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { TransformerWrapper, ViTransformerWrapper, XTransformer } from '../models/index.js'
import { build, type HuggingFaceModel } from './build.js'
import type { Json } from './config/read.js'
import { describeConfig } from './describe.js'
import type { Family } from './families/family.js'
import { familyOf } from './families/index.js'
import { noteOrigin } from './origin.js'

/** What every preset takes. */
export interface PresetOptions {
  /** Width of the model. */
  dim: number
  /** Number of layers. */
  depth: number
  /** Number of attention heads. */
  heads: number
  /** Width of a head. Absent: `dim / heads`. */
  dim_head?: number | undefined
  /** Width of the feed-forwards. Absent: in the proportion that the family's models have. */
  ff_inner_dim?: number | undefined
  /**
   * Settings in the words of the family's config.json, such as `{ rope_theta: 500_000 }`. Absent:
   * those of the class of `transformers`.
   */
  settings?: Json | undefined
}

/** What presets over tokens take. */
export interface TokenPresetOptions extends PresetOptions {
  /** Size of the vocabulary. */
  num_tokens: number
  /** Longest sequence. */
  max_seq_len: number
}

/** What presets of decoders take. */
export interface DecoderPresetOptions extends TokenPresetOptions {
  /** Number of heads of keys and values. Absent: `heads`. */
  kv_heads?: number | undefined
}

/** What the preset of ALBERT takes. */
export interface AlbertPresetOptions extends TokenPresetOptions {
  /** Width of the embeddings. */
  emb_dim: number
}

/** What the preset of ViT takes. */
export interface VisionPresetOptions extends PresetOptions {
  /** Height and width of an image, in pixels. */
  image_size: number
  /** Height and width of a patch, in pixels. */
  patch_size: number
  /** Number of channels of an image. Absent: 3. */
  channels?: number | undefined
  /** Number of classes. */
  num_classes: number
}

type Sizes = Readonly<Record<string, unknown>>

/** What sizes are called in config.json: ours on the left. */
type Words = Readonly<Record<string, string>>

const USUAL: Words = {
  num_tokens: 'vocab_size',
  max_seq_len: 'max_position_embeddings',
  dim: 'hidden_size',
  depth: 'num_hidden_layers',
  heads: 'num_attention_heads',
  kv_heads: 'num_key_value_heads',
  dim_head: 'head_dim',
  ff_inner_dim: 'intermediate_size',
}

const OF_GPT2: Words = {
  num_tokens: 'vocab_size',
  max_seq_len: 'n_positions',
  dim: 'n_embd',
  depth: 'n_layer',
  heads: 'n_head',
  ff_inner_dim: 'n_inner',
}

const OF_T5: Words = {
  num_tokens: 'vocab_size',
  max_seq_len: 'n_positions',
  dim: 'd_model',
  depth: 'num_layers',
  heads: 'num_heads',
  dim_head: 'd_kv',
  ff_inner_dim: 'd_ff',
}

const OF_VIT: Words = { ...USUAL, image_size: 'image_size', patch_size: 'patch_size' }

/** No special tokens: those of the class are beyond a small vocabulary. */
const NO_TOKENS: Json = { bos_token_id: null, eos_token_id: null, pad_token_id: null }

/** How wide a head is. */
const headOf = ({ dim, heads, dim_head }: Sizes) =>
  (dim_head as number | undefined) ?? Math.floor((dim as number) / (heads as number))

/** A new model of a family. */
interface Preset {
  type: string
  class: string
  words: Words
  /** Settings that follow from sizes, or that differ from those of the class. */
  more?(sizes: Sizes): Json
}

const PRESETS = {
  gpt2: { type: 'gpt2', class: 'GPT2LMHeadModel', words: OF_GPT2 },
  gpt_neox: { type: 'gpt_neox', class: 'GPTNeoXForCausalLM', words: USUAL },
  llama: { type: 'llama', class: 'LlamaForCausalLM', words: USUAL },
  mistral: { type: 'mistral', class: 'MistralForCausalLM', words: USUAL },
  qwen2: { type: 'qwen2', class: 'Qwen2ForCausalLM', words: USUAL },
  qwen3: { type: 'qwen3', class: 'Qwen3ForCausalLM', words: USUAL },
  gemma: { type: 'gemma', class: 'GemmaForCausalLM', words: USUAL },
  gemma2: {
    ...{ type: 'gemma2', class: 'Gemma2ForCausalLM', words: USUAL },
    more: (sizes) => ({ query_pre_attn_scalar: headOf(sizes) }),
  },
  gemma3: {
    ...{ type: 'gemma3_text', class: 'Gemma3ForCausalLM', words: USUAL },
    more: (sizes) => ({ query_pre_attn_scalar: headOf(sizes) }),
  },
  phi: { type: 'phi', class: 'PhiForCausalLM', words: USUAL },
  phi3: {
    ...{ type: 'phi3', class: 'Phi3ForCausalLM', words: USUAL },
    more: ({ max_seq_len }) => ({ original_max_position_embeddings: max_seq_len, ...NO_TOKENS }),
  },
  olmo: { type: 'olmo', class: 'OlmoForCausalLM', words: USUAL },
  olmo2: { type: 'olmo2', class: 'Olmo2ForCausalLM', words: USUAL },
  stablelm: { type: 'stablelm', class: 'StableLmForCausalLM', words: USUAL },
  smollm3: {
    ...{ type: 'smollm3', class: 'SmolLM3ForCausalLM', words: USUAL },
    more: () => NO_TOKENS,
  },
  granite: {
    ...{ type: 'granite', class: 'GraniteForCausalLM', words: USUAL },
    more: (sizes) => ({ attention_multiplier: headOf(sizes) ** -0.5 }),
  },
  bert: { type: 'bert', class: 'BertModel', words: USUAL },
  albert: {
    ...{ type: 'albert', class: 'AlbertModel', words: { ...USUAL, emb_dim: 'embedding_size' } },
  },
  vit: {
    ...{ type: 'vit', class: 'ViTForImageClassification' },
    words: { ...OF_VIT, channels: 'num_channels', num_classes: 'num_labels' },
  },
  t5: { type: 't5', class: 'T5ForConditionalGeneration', words: OF_T5 },
} as const satisfies Record<string, Preset>

/** Sizes of the feed-forward are multiples of this, where they follow from a proportion. */
const MULTIPLE = 8

/** The default of a field, as a number. */
const defaultOf = ({ fields }: Family, name: string | undefined) =>
  (fields[name ?? '']?.fallback as number | null | undefined) ?? null

/** What a preset takes by name: the sizes that its family has fields for. */
const sizesOf = ({ fields }: Family, words: Words): string[] =>
  Object.keys(words).filter((size) => Object.hasOwn(fields, words[size] as string))

/** The sizes that follow from others. */
function completed(given: Sizes, known: readonly string[], family: Family, words: Words): Sizes {
  const sizes: Record<string, unknown> = { ...given }
  if (known.includes('kv_heads')) sizes.kv_heads ??= sizes.heads
  if (known.includes('dim_head')) sizes.dim_head ??= headOf(sizes)
  const [inner, width] = [defaultOf(family, words.ff_inner_dim), defaultOf(family, words.dim)]
  if (sizes.ff_inner_dim === undefined && inner !== null && width !== null) {
    const wanted = ((sizes.dim as number) * inner) / width
    sizes.ff_inner_dim = Math.ceil(wanted / MULTIPLE) * MULTIPLE
  }
  return sizes
}

const NEEDED = ['num_tokens', 'max_seq_len', 'dim', 'depth', 'heads', 'emb_dim']
const NEEDED_OF_IMAGES = ['image_size', 'patch_size', 'num_classes']

/** The config.json of a new model. */
function configOf(name: string, preset: Preset, options: object): Json {
  const family = familyOf(preset.type) as Family
  const { words } = preset
  const known = sizesOf(family, words)
  const call = `presets.${name}()`
  const { settings, ...given } = checkOptions(options as Sizes, call, [...known, 'settings'])
  if (settings !== undefined && !isRecord(settings))
    throw refuse('settings', 'an object', settings, 'invalid_options')
  for (const size of known) {
    const value = given[size]
    const needed = NEEDED.includes(size) || NEEDED_OF_IMAGES.includes(size)
    if (Number.isSafeInteger(value) && (value as number) > 0) continue
    if (value === undefined && !needed) continue
    throw refuse(`${size} of ${call}`, 'a whole number above 0', value, 'invalid_options')
  }
  const sizes = completed(given, known, family, words)
  const fields = known.flatMap((size) =>
    sizes[size] === undefined ? [] : [[words[size] as string, sizes[size]] as const],
  )
  return {
    architectures: [preset.class],
    model_type: preset.type,
    ...Object.fromEntries(fields),
    ...preset.more?.(sizes),
    ...(settings as Json | undefined),
  }
}

/**
 * A new model.
 *
 * @throws XTransformersError (`invalid_options`)
 */
function make(name: keyof typeof PRESETS, options: object): HuggingFaceModel {
  const config = configOf(name, PRESETS[name], options)
  try {
    const model = build(describeConfig(config).plan)
    noteOrigin(model, {
      ...{ config, generation: null, names: new Map(), heads: {} },
      ...{ ignored: new Set(), tokenizer: null },
    })
    return model
  } catch (error) {
    if (!(error instanceof XTransformersError)) throw error
    const message = `presets.${name}() cannot be made: ${error.message}`
    throw new XTransformersError('invalid_options', message, error.problems, { cause: error })
  }
}

type DecoderPreset = (options: DecoderPresetOptions) => TransformerWrapper

/**
 * New models with the architecture of a family, with random weights, for training from scratch. The
 * settings are those of the family's class in `transformers`; `toHuggingFace()` writes such a model
 * for it.
 *
 * @example
 * const model = presets.llama({
 *   num_tokens: 256, max_seq_len: 512, dim: 256, depth: 6, heads: 8, kv_heads: 2,
 * })
 */
export const presets: Readonly<{
  gpt2: (options: TokenPresetOptions) => TransformerWrapper
  gpt_neox: (options: TokenPresetOptions) => TransformerWrapper
  llama: DecoderPreset
  mistral: DecoderPreset
  qwen2: DecoderPreset
  qwen3: DecoderPreset
  gemma: DecoderPreset
  gemma2: DecoderPreset
  gemma3: DecoderPreset
  phi: DecoderPreset
  phi3: DecoderPreset
  olmo: DecoderPreset
  olmo2: DecoderPreset
  stablelm: DecoderPreset
  smollm3: DecoderPreset
  granite: DecoderPreset
  bert: (options: TokenPresetOptions) => TransformerWrapper
  albert: (options: AlbertPresetOptions) => TransformerWrapper
  vit: (options: VisionPresetOptions) => ViTransformerWrapper
  t5: (options: TokenPresetOptions) => XTransformer
}> = Object.freeze(
  Object.fromEntries(
    Object.keys(PRESETS).map((name) => [
      name,
      (options: object) => make(name as keyof typeof PRESETS, options),
    ]),
  ),
) as never
