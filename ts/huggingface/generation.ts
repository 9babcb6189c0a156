/** generation_config.json as options of our `generate`. */
import type { GenerateOptions } from '../models/options.gen.js'
import {
  count,
  type Field,
  finite,
  flag,
  from0,
  list,
  nullable,
  only,
  positive,
  share,
  type Values,
  wholeFrom0,
} from './config/fields.js'
import { type Json, Problems, readFields, shownValue } from './config/read.js'

/** One token id or several, as an array. */
const tokens: Field<readonly number[]> = {
  fallback: [],
  wanted: 'a token id, or an array of them',
  read: (value) =>
    value === null ? [] : list(wholeFrom0(0)).read(Array.isArray(value) ? value : [value]),
}

/** The token of padding; -1, as Llama 1 has it, is none. */
const padding: Field<number | null> = {
  fallback: null,
  wanted: 'a token id, or null',
  read: (value) => (value === null || value === -1 ? null : wholeFrom0(0).read(value)),
}

/** A setting that does nothing at this number, and is not covered at others. */
const neutral = (value: number | null) => only<number | null>(value, null)

/** The settings, with the defaults of transformers. */
const FIELDS = {
  do_sample: flag(false),
  temperature: nullable(from0(1), 1),
  top_k: nullable(wholeFrom0(50), 50),
  top_p: nullable(share(1), 1),
  min_p: nullable(share(1)),
  repetition_penalty: nullable(positive(1), 1),
  num_beams: nullable(count(1), 1),
  length_penalty: nullable(finite(1), 1),
  num_return_sequences: nullable(count(1), 1),
  early_stopping: only<boolean | string | null>(false, null, true, 'never'),
  bos_token_id: nullable(wholeFrom0(0)),
  eos_token_id: tokens,
  pad_token_id: padding,
  decoder_start_token_id: nullable(wholeFrom0(0)),
  typical_p: neutral(1),
  epsilon_cutoff: neutral(0),
  eta_cutoff: neutral(0),
  encoder_repetition_penalty: neutral(1),
  no_repeat_ngram_size: neutral(0),
  encoder_no_repeat_ngram_size: neutral(0),
  num_beam_groups: neutral(1),
  diversity_penalty: neutral(0),
  penalty_alpha: neutral(0),
  min_length: neutral(0),
  min_new_tokens: neutral(0),
  guidance_scale: neutral(1),
} as const

/** What changes no token, or is an argument of ours: the number of tokens. */
const IDLE: ReadonlySet<string> = new Set([
  ...['_from_model_config', 'transformers_version', 'generation_kwargs', 'trust_remote_code'],
  ...['max_length', 'max_new_tokens', 'max_time', 'chat_format'],
  ...['use_cache', 'cache_implementation', 'cache_config', 'low_memory', 'disable_compile'],
  ...['compile_config', 'prefill_chunk_size', 'output_attentions', 'output_hidden_states'],
  ...['output_scores', 'output_logits', 'return_dict_in_generate', 'return_legacy_cache'],
  ...['remove_invalid_values', 'renormalize_logits', 'is_assistant', 'num_assistant_tokens'],
  ...['num_assistant_tokens_schedule', 'assistant_confidence_threshold', 'assistant_lookbehind'],
  ...['target_lookbehind', 'assistant_early_exit', 'prompt_lookup_num_tokens'],
  ...['max_matching_ngram_size', 'token_healing', 'cls_token_id', 'sep_token_id', 'unk_token_id'],
])

/** Ids of special tokens; null where there is none. */
export interface SpecialTokens {
  bos: number | null
  /** Each of them ends a text. */
  eos: readonly number[]
  pad: number | null
  /** What the decoder of an encoder-decoder begins with. */
  decoder_start: number | null
}

/** What the files say of generation. */
export interface Generation {
  /** What `generate` takes. */
  options: GenerateOptions
  tokens: SpecialTokens
}

type Settings = Values<typeof FIELDS>

/** How the next token is chosen. */
function sampling(c: Settings): GenerateOptions {
  if (!c.do_sample || c.temperature === 0) return { temperature: 0 }
  const top_k = c.top_k === 0 ? null : c.top_k
  return {
    temperature: c.temperature ?? 1,
    temperature_first: true,
    // 1 keeps all of them, where the default of `generate` would be a filter of its own
    nucleus_p: c.top_p ?? 1,
    ...(top_k !== null && { top_k_tokens: top_k }),
    ...(c.min_p !== null && { min_p: c.min_p }),
  }
}

function optionsOf(c: Settings): GenerateOptions {
  const [first] = c.eos_token_id
  const beams = c.num_beams ?? 1
  const more: GenerateOptions = {
    ...(first !== undefined && { eos_token: c.eos_token_id.length > 1 ? c.eos_token_id : first }),
    ...(first !== undefined && { eos_in_prompt: false }),
    ...(c.repetition_penalty !== 1 && { repetition_penalty: c.repetition_penalty ?? 1 }),
    ...(c.num_return_sequences !== 1 && { num_return_sequences: c.num_return_sequences ?? 1 }),
    ...(beams !== 1 && { num_beams: beams, length_penalty: c.length_penalty ?? 1 }),
  }
  return { ...sampling(c), ...more }
}

/** Problems of settings that are fine one by one, and not together. */
function checkTogether(c: Settings, problems: Problems): void {
  const [beams, sequences] = [c.num_beams ?? 1, c.num_return_sequences ?? 1]
  const samples = sampling(c).temperature !== 0
  const refuse = (setting: string, value: unknown, why: string) =>
    problems.uncovered(
      `${setting} is ${shownValue(value)}, which is not covered ${why}: pass one of them over by the option ignore`,
    )
  if (beams > 1 && (c.early_stopping ?? false) !== false)
    refuse('early_stopping', c.early_stopping, `with num_beams ${beams}`)
  if (beams > 1 && samples) refuse('do_sample', true, `with num_beams ${beams}`)
  if (sequences > beams && !samples)
    refuse('num_return_sequences', sequences, `with num_beams ${beams}, and without do_sample`)
}

/** Settings that are not covered, and that older versions kept in config.json. */
const LEGACY: ReadonlySet<string> = new Set([
  ...['forced_bos_token_id', 'forced_eos_token_id', 'bad_words_ids', 'suppress_tokens'],
  ...['begin_suppress_tokens', 'exponential_decay_length_penalty'],
])

/** The fields of a config.json that older versions kept there. */
const legacy = (config: Json): Json =>
  Object.fromEntries(
    Object.entries(config).filter(([name]) => Object.hasOwn(FIELDS, name) || LEGACY.has(name)),
  )

/**
 * What generation_config.json says, or, where there is none, config.json.
 *
 * @throws XTransformersError (`not_available`) where a setting is not covered;
 *   (`invalid_checkpoint`) where it is damaged
 */
export function readGeneration(
  json: Json | null,
  config: Json,
  ignored: ReadonlySet<string>,
): Generation {
  const problems = new Problems(json === null ? 'config.json' : 'generation_config.json')
  const names = { idle: IDLE, ignored }
  const c = readFields(json ?? legacy(config), FIELDS, names, problems)
  checkTogether(c, problems)
  problems.throwIfAny()
  return {
    options: optionsOf(c),
    tokens: {
      bos: c.bos_token_id,
      eos: c.eos_token_id,
      pad: c.pad_token_id,
      decoder_start: c.decoder_start_token_id,
    },
  }
}
