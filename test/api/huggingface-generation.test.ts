// generation_config.json of Hugging Face as options of `generate`.
import { describe, expect, it } from 'vitest'
import { AutoregressiveWrapper } from 'x-transformers'
import { readGeneration } from '../../ts/huggingface/generation.js'
import { expectThrows, smallNet } from './helpers.js'

type Json = Record<string, unknown>
const NONE: ReadonlySet<string> = new Set()
const optionsOf = (json: Json) => readGeneration(json, {}, NONE).options

const SAMPLED = { temperature: 1, temperature_first: true, nucleus_p: 1, top_k_tokens: 50 }

/** Settings, and the options for them. */
const CASES: [json: Json, options: object][] = [
  [{}, { temperature: 0 }],
  [{ do_sample: false, temperature: 0.7, top_p: 0.5 }, { temperature: 0 }],
  [{ do_sample: true }, SAMPLED],
  [
    { do_sample: true, top_k: 0, top_p: null },
    { ...SAMPLED, top_k_tokens: undefined },
  ],
  [
    { do_sample: true, temperature: 0.6, top_p: 0.9 },
    { ...SAMPLED, temperature: 0.6, nucleus_p: 0.9 },
  ],
  [
    { do_sample: true, min_p: 0.1, top_k: 5 },
    { ...SAMPLED, min_p: 0.1, top_k_tokens: 5 },
  ],
  [{ do_sample: true, temperature: 0 }, { temperature: 0 }],
  [{ eos_token_id: 3 }, { temperature: 0, eos_token: 3, eos_in_prompt: false }],
  [{ eos_token_id: [3, 4] }, { temperature: 0, eos_token: [3, 4], eos_in_prompt: false }],
  [{ repetition_penalty: 1.1 }, { temperature: 0, repetition_penalty: 1.1 }],
  [
    { num_beams: 3, num_return_sequences: 2 },
    { temperature: 0, num_beams: 3, num_return_sequences: 2, length_penalty: 1 },
  ],
  [{ early_stopping: true, num_beams: 1 }, { temperature: 0 }],
  [
    { num_beams: 3, early_stopping: false },
    { temperature: 0, num_beams: 3, length_penalty: 1 },
  ],
  [
    { do_sample: true, num_return_sequences: 2, max_new_tokens: 9, use_cache: true },
    { ...SAMPLED, num_return_sequences: 2 },
  ],
  [
    { typical_p: 1, guidance_scale: null, suppress_tokens: null, bad_words_ids: null },
    { temperature: 0 },
  ],
]

describe('generation_config.json', () => {
  it.each(CASES)('is options of generate: %o', async (json, options) => {
    const got = optionsOf(json)
    expect(got).toEqual(options)
    // and such as generate takes
    const model = new AutoregressiveWrapper(smallNet())
    const made = await model.generate([[1, 2]], 3, { ...got, eos_token: null })
    expect(made.shape.at(-1)).toBe(3)
  })

  it('names tokens', () => {
    const json = { bos_token_id: 1, eos_token_id: 2, pad_token_id: 0, decoder_start_token_id: 5 }
    const { tokens } = readGeneration(json, {}, NONE)
    expect(tokens).toEqual({ bos: 1, eos: [2], pad: 0, decoder_start: 5 })
  })

  it('may have a token of padding that is none', () => {
    expect(readGeneration({ pad_token_id: -1 }, {}, NONE).tokens.pad).toBeNull()
  })

  it.each([
    [{ forced_eos_token_id: 2 }, 'forced_eos_token_id is 2, which is not covered'],
    [{ forced_bos_token_id: 2 }, 'forced_bos_token_id is 2'],
    [{ bad_words_ids: [[3]] }, 'bad_words_ids is [[3]]'],
    [{ suppress_tokens: [1] }, 'suppress_tokens is [1]'],
    [{ begin_suppress_tokens: [1] }, 'begin_suppress_tokens is [1]'],
    [{ exponential_decay_length_penalty: [1, 2] }, 'exponential_decay_length_penalty is [1,2]'],
  ])('names what config.json has of it, and is not covered: %o', (config, words) => {
    expectThrows(() => readGeneration(null, config, NONE), 'not_available', words)
    expect(readGeneration({}, config, NONE).options).toEqual({ temperature: 0 })
  })

  it.each([
    [{ num_beams: 2, early_stopping: true }, 'early_stopping is true'],
    [{ num_beams: 2, early_stopping: 'never' }, 'early_stopping is "never"'],
    [{ num_beams: 2, do_sample: true }, 'do_sample is true'],
    [{ num_return_sequences: 2 }, 'num_return_sequences is 2'],
    [{ num_return_sequences: 3, num_beams: 2 }, 'num_return_sequences is 3'],
  ])('names what is not covered together: %o', (json, words) => {
    expectThrows(() => optionsOf(json), 'not_available', words)
    for (const name of Object.keys(json)) {
      if (name === 'num_beams' && 'num_return_sequences' in json) continue
      expect(() => readGeneration(json, {}, new Set([name]))).not.toThrow()
    }
  })

  it('is what config.json has of it, where there is none', () => {
    const config = { vocab_size: 9, eos_token_id: 2, do_sample: true, top_k: 7, hidden_act: 'silu' }
    const { options } = readGeneration(null, config, NONE)
    const ends = { eos_token: 2, eos_in_prompt: false }
    expect(options).toEqual({ ...SAMPLED, top_k_tokens: 7, ...ends })
  })

  it.each([
    [{ no_repeat_ngram_size: 3 }, 'no_repeat_ngram_size is 3, which is not covered'],
    [{ penalty_alpha: 0.6 }, 'penalty_alpha is 0.6'],
    [{ num_beam_groups: 2 }, 'num_beam_groups is 2'],
    [{ suppress_tokens: [1] }, 'suppress_tokens is [1]'],
    [{ watermarking_config: { bias: 1 } }, 'watermarking_config'],
  ])('names what is not covered: %o', (json, words) => {
    expectThrows(() => optionsOf(json), 'not_available', words)
    expect(readGeneration(json, {}, new Set(Object.keys(json))).options).toEqual({ temperature: 0 })
  })

  it.each([
    [{ top_p: 1.5 }, 'top_p must be a number above 0, and at most 1, or null, got 1.5'],
    [{ temperature: -1 }, 'temperature must be a number from 0'],
    [{ eos_token_id: ['a'] }, 'eos_token_id must be a token id, or an array of them'],
    [{ do_sample: 'yes' }, 'do_sample must be true or false'],
  ])('names what cannot be: %o', (json, words) => {
    expectThrows(() => optionsOf(json), 'invalid_checkpoint', words)
  })
})
