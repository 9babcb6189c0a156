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
  ])('may have what published files have besides: %s', async (name, more) => {
    const { published_config } = await recordedCase(name)
    const { plan } = describeConfig(published_config)
    expect(describeConfig({ ...published_config, ...more }).plan).toEqual(plan)
  })
})
