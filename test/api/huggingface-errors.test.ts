// What fromHuggingFace refuses: by name, before anything large is read.
import { describe, expect, it } from 'vitest'
import { fromHuggingFace } from 'x-transformers/huggingface'
import { describeConfig } from '../../ts/huggingface/describe.js'
import { expectError } from './bytes.js'
import { expectThrows } from './helpers.js'
import { CASES, jsonBytes, recordedCase } from './huggingface.js'

type Json = Record<string, unknown>

/** Loads a config.json alone, with changes to that of a case. */
async function load(name: string, changes: Json, options = {}) {
  const { published_config } = await recordedCase(name)
  const config = { ...published_config, ...changes }
  return await fromHuggingFace({ 'config.json': jsonBytes(config) }, options)
}

/** Changes to a case, the code of the error, and what it says. */
const UNCOVERED: [name: string, changes: Json, words: RegExp][] = [
  ['llama-2', { model_type: 'mixtral' }, /type mixtral are not covered: there are albert, bert/],
  ['llama-2', { architectures: ['LlamaForSequenceClassification'] }, /LlamaForSequenceClass/],
  ['llama-2', { num_local_experts: 8 }, /num_local_experts is 8, which is not covered/],
  ['llama-2', { quantization_config: { quant_method: 'gptq' } }, /"gptq".*quantize\(\)/],
  ['llama-2', { hidden_act: 'mish' }, /hidden_act is "mish", which is not covered: .*silu/],
  ['llama-2', { rope_scaling: { type: 'mrope', factor: 2 } }, /type "mrope".*dynamic, llama3/],
  ['llama-2', { rope_scaling: { type: 'su', factor: 2 } }, /type "su"/],
  ['llama-3', { rope_scaling: { rope_type: 'linear', factor: 2, more: 1 } }, /more, 1/],
  ['llama-dynamic', { rope_scaling: dynamicFrom(9) }, /dynamic scaling from 9 positions/],
  ['stablelm', { qk_layernorm: true }, /qk_layernorm is true.*covered is false/],
  ['phi-2', { qk_layernorm: true }, /qk_layernorm is true/],
  ['phi-2', { tie_word_embeddings: true }, /tie_word_embeddings is true/],
  ['smollm-3', { use_sliding_window: true }, /use_sliding_window is true/],
  ['qwen-2', { layer_types: ['full_attention', 'linear_attention'] }, /"linear_attention"/],
  ['bert', { position_embedding_type: 'relative_key' }, /position_embedding_type/],
  ['bert', { is_decoder: true }, /is_decoder is true/],
  ['bert', { pruned_heads: { 1: [0] } }, /pruned_heads is {"1":\[0\]}/],
  ['albert', { embedding_size: 16 }, /embedding_size equal to hidden_size/],
  ['vit', { pooler_act: 'relu' }, /pooler_act is "relu"/],
  ['t5', { feed_forward_proj: 'gated-mish' }, /feed_forward_proj is "gated-mish"/],
  ['gpt-2', { add_cross_attention: true }, /add_cross_attention is true/],
  ['gpt-2', { is_causal: false }, /is_causal is false, which is not covered: covered is true/],
  ['llama-2', { is_causal: false }, /is_causal is false/],
  ['t5', { is_causal: false }, /is_causal is false/],
  ['llama-2', { activation: 'geglu' }, /activation is "geglu"/],
  ['stablelm', { rope_pct: 0.75 }, /rope_pct is 0\.75, which is not partial_rotary_factor/],
  ['gemma-3', { num_hidden_layers: 1, layer_types: ['chunked_attention'] }, /"chunked_attention"/],
]

function dynamicFrom(original_max_position_embeddings: number) {
  return { type: 'dynamic', factor: 2, original_max_position_embeddings }
}

const DAMAGED: [name: string, changes: Json, words: RegExp][] = [
  ['llama-2', { model_type: 3 }, /must have a model_type.*got 3/],
  ['llama-2', { architectures: 'Llama' }, /architectures of config.json must be an array/],
  ['llama-2', { hidden_size: '32' }, /hidden_size must be a whole number from 1.*got "32"/],
  ['llama-2', { hidden_size: 31 }, /hidden_size 31 is not a multiple of num_attention_heads 4/],
  ['llama-2', { num_key_value_heads: 3 }, /not a multiple of num_key_value_heads 3/],
  ['llama-2', { num_hidden_layers: 1e9 }, /num_hidden_layers must be a whole number from 1 to/],
  ['llama-2', { num_hidden_layers: null }, /num_hidden_layers must be .*got null/],
  ['llama-2', { vocab_size: -1 }, /vocab_size must be/],
  ['llama-2', { vocab_size: 1.5 }, /vocab_size must be/],
  ['llama-2', { rms_norm_eps: 'small' }, /rms_norm_eps must be a number above 0/],
  ['llama-2', { rms_norm_eps: 0 }, /rms_norm_eps must be a number above 0/],
  ['llama-2', { tie_word_embeddings: 1 }, /tie_word_embeddings must be true or false/],
  ['llama-2', { rope_scaling: [1] }, /rope_scaling must be an object/],
  ['llama-2', { rope_scaling: { type: 'linear' } }, /linear need factor/],
  ['llama-2', { rope_scaling: { type: 'linear', factor: '2' } }, /factor must be a number/],
  ['phi-3-longrope', { rope_scaling: { type: 'longrope', long_factor: [1] } }, /short_factor/],
  ['qwen-2', { layer_types: ['full_attention'] }, /layer_types has 1 entries/],
  ['qwen-2', { layer_types: [1, 2] }, /layer_types must be an array/],
  ['smollm-3', { no_rope_layers: [1] }, /no_rope_layers has 1 entries/],
  ['gemma-3', { rope_parameters: { rope_theta: 1 } }, /must have an object full_attention/],
  ['bert', { hidden_dropout_prob: 1 }, /hidden_dropout_prob must be a number from 0, and below 1/],
]

describe('fromHuggingFace', () => {
  it.each(UNCOVERED)('names what is not covered: %s, %o', async (name, changes, words) => {
    await expectError(load(name, changes), 'not_available', words)
  })

  it.each(DAMAGED)('names what cannot be: %s, %o', async (name, changes, words) => {
    await expectError(load(name, changes), 'invalid_checkpoint', words)
  })

  it('names all problems of a configuration at once', async () => {
    const changes = { hidden_size: 0, hidden_act: 'mish', num_experts: 4 }
    const words = /hidden_size must be[\s\S]*"mish"[\s\S]*num_experts is 4/
    await expectError(load('llama-2', changes), 'invalid_checkpoint', words)
  })

  it('passes over settings that are named, and those that are off', async () => {
    const missing = /there are no weights/
    const off = { use_mrope: false, note: null, text: '', quantization_config: {} }
    await expectError(load('llama-2', off), 'file', missing)
    await expectError(load('albert', { eos_token_ids: 0 }), 'file', missing)
    await expectError(load('llama-2', { note: 'a' }), 'not_available', /note is "a"/)
    await expectError(load('llama-2', { note: 'a' }, { ignore: ['note'] }), 'file', missing)
  })

  it('names what is nested more deeply than JSON.stringify follows', async () => {
    const note = JSON.parse('['.repeat(20_000) + ']'.repeat(20_000)) as unknown
    const { config } = await recordedCase('llama-2')
    const words = 'note is an array'
    expectThrows(() => describeConfig({ ...config, note }), 'not_available', words)
  })

  it('takes configurations from nobody on trust', async () => {
    for (const text of ['[]', '1', '"a"', 'null', '{', '<html>', '']) {
      const files = { 'config.json': new TextEncoder().encode(text) }
      await expectError(fromHuggingFace(files), 'invalid_checkpoint', /config\.json/)
    }
    const inherited = '{"__proto__": {"model_type": "llama"}, "constructor": {}}'
    const files = { 'config.json': new TextEncoder().encode(inherited) }
    await expectError(fromHuggingFace(files), 'invalid_checkpoint', /must have a model_type/)
  })

  it('names the file that is missing', async () => {
    await expectError(fromHuggingFace({}), 'file', /there is no config\.json/)
    await expectError(fromHuggingFace([]), 'file', /there is no config\.json/)
    await expectError(load('llama-2', {}), 'file', /looked for model\.safetensors, pytorch_model/)
  })

  it.each([
    ['a number', 3],
    ['null', null],
    ['a list of something else', [new Uint8Array(1)]],
  ])('takes a folder, files by name, or a list of files: %s', async (_, source) => {
    await expectError(fromHuggingFace(source as never), 'invalid_argument', /must be/)
  })

  it('checks its options', async () => {
    const given = (options: object) => load('llama-2', {}, options)
    await expectError(given({ devise: 'cpu' }), 'invalid_options', /devise/)
    await expectError(given({ ignore: [1] }), 'invalid_argument', /ignore\[0\]/)
    await expectError(given({ ignore: 'a' }), 'invalid_argument', /ignore must be an array/)
    await expectError(given({ tokenizer: 'yes' }), 'invalid_argument', /tokenizer must be/)
    await expectError(given({ device: 'abacus' }), 'invalid_tensor', /device/)
  })
})

/** Every value of a configuration in turn as something else. */
const WRONG = [null, true, -1, 0, 1.5, 1e300, Number.MAX_SAFE_INTEGER, '', 'x', [], [[]], {}, ['x']]

describe('a configuration with one wrong value', () => {
  it.each(CASES)('is one of another model, or an error with a message: %s', async (name) => {
    const { config, published_config } = await recordedCase(name)
    for (const whole of [config, published_config]) {
      for (const key of Object.keys(whole)) {
        for (const value of WRONG) {
          const changed = { ...whole, [key]: value }
          const code = codeOf(() => describeConfig(changed))
          expect(['none', 'not_available', 'invalid_checkpoint'], `${key} ${value}`).toContain(code)
        }
      }
    }
  })
})

function codeOf(run: () => unknown): string {
  try {
    run()
    return 'none'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
