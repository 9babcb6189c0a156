// What a config.json of Hugging Face is in options of ours: test/huggingface has the recordings.
import { describe, expect, it } from 'vitest'
import { describeConfig } from '../../ts/huggingface/describe.js'
import { FAMILIES } from '../../ts/huggingface/families/index.js'
import { CASES, recordedCase } from './huggingface.js'

describe('the recorded configurations', () => {
  it('are of every family', async () => {
    const all = await Promise.all(CASES.map(recordedCase))
    const types = new Set(all.map(({ config }) => config.model_type))
    expect([...types].sort()).toEqual(FAMILIES.flatMap(({ types }) => types).sort())
  })

  it.each(CASES)('ask for the same in the words of transformers 4 and 5: %s', async (name) => {
    const { config, published_config } = await recordedCase(name)
    const { plan } = describeConfig(config)
    expect(describeConfig(published_config).plan).toEqual(plan)
  })

  it.each([
    // SmolLM 2, SmolLM 3, Pythia, Phi 4, ALBERT, distilgpt2
    [
      'smollm-2',
      { is_llama_config: true, rope_interleaved: false, 'transformers.js_config': { a: 1 } },
    ],
    ['smollm-3', { max_window_layers: 28, pretraining_tp: 2 }],
    ['gpt-neox', { attention_probs_dropout_prob: 0, hidden_dropout_prob: 0 }],
    ['phi-3', { full_attn_mod: 1, interpolate_factor: 1, lm_head_bias: false, mlp_bias: false }],
    ['albert', { down_scale_factor: 1, gap_size: 0, layers_to_keep: [], num_memory_blocks: 0 }],
    ['gpt-2', { _num_labels: 1, n_ctx: 64, task_specific_params: { a: { max_length: 50 } } }],
    ['gpt-2', { n_special: 0, predict_special_tokens: true, is_causal: true }],
    ['gemma-2', { sliding_window_size: 4096, is_causal: null }],
    ['llama-2', { max_sequence_length: 64, _flash_attn_2_enabled: true, pad_token_id: -1 }],
    ['llama-2', { activation: 'swiglu' }],
    ['stablelm', { rope_pct: 0.25, rotary_scaling_factor: 1, num_heads: 4 }],
    ['bert', { name: 'Bert', language: 'english', sentence_transformers: { version: '4' } }],
    ['bert', { sbert_ce_default_activation_function: 'torch.nn.modules.linear.Identity' }],
  ])('may have what published files have besides: %s', async (name, more) => {
    const { published_config } = await recordedCase(name)
    const { plan } = describeConfig(published_config)
    expect(describeConfig({ ...published_config, ...more }).plan).toEqual(plan)
  })
})

describe('rotary positions', () => {
  const YARN = { rope_type: 'yarn', factor: 4 }
  const planOf = async (name: string, changes: object) =>
    describeConfig({ ...(await recordedCase(name)).config, ...changes }).plan

  it('are those of rope_scaling where both words are there, unless it is empty', async () => {
    const newer = { rope_type: 'default', rope_theta: 7 }
    const both = { rope_parameters: newer, rope_theta: 5000 }
    const older = await planOf('llama-2', { ...both, rope_scaling: YARN })
    expect(older).toEqual(
      await planOf('llama-2', { rope_parameters: { ...YARN, rope_theta: 5000 } }),
    )
    const empty = await planOf('llama-2', { ...both, rope_scaling: {} })
    expect(empty).toEqual(await planOf('llama-2', { rope_parameters: newer }))
  })

  it('are changed by rope_scaling in the layers of Gemma 3 that see everything', async () => {
    const sliding_attention = { rope_type: 'default', rope_theta: 8 }
    const full_attention = { rope_type: 'default', rope_theta: 7 }
    const linear = { rope_type: 'linear', factor: 8 }
    const rope_parameters = { full_attention, sliding_attention }
    const both = await planOf('gemma-3', { rope_parameters, rope_scaling: linear })
    const entry = { ...full_attention, ...linear }
    const whole = { rope_parameters: { full_attention: entry, sliding_attention } }
    expect(both).toEqual(await planOf('gemma-3', whole))
  })

  it('are made for max_position_embeddings with the scaling of Llama 3', async () => {
    const scaling = { low_freq_factor: 1, high_freq_factor: 4, rope_theta: 5e5 }
    const { model } = await planOf('llama-2', {
      max_position_embeddings: 131_072,
      rope_parameters: {
        ...{ rope_type: 'llama3', factor: 32, original_max_position_embeddings: 8192 },
        ...scaling,
      },
    })
    expect(model).toMatchObject({ max_seq_len: 131_072 })
  })
})
