/**
 * Fields of configurations that do not change what a model computes: who made the file and how,
 * what is for training from scratch, for generation, or for other libraries.
 */
export const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  // about the file
  ...['_name_or_path', '_commit_hash', 'architectures', 'auto_map', 'model_type', 'name_or_path'],
  ...['tokenizer_class', 'transformers_version', 'torch_dtype', 'dtype', 'finetuning_task'],
  ...['_attn_implementation', '_attn_implementation_autoset', 'attn_implementation'],
  ...['custom_pipelines', 'license', 'language', 'model_name', 'unsloth_version', 'unsloth_fixed'],
  ...['is_llama_config', 'transformers.js_config', 'name', 'sentence_transformers'],
  // how it is computed, not what
  ...['use_cache', 'gradient_checkpointing', 'pretraining_tp', 'reorder_and_upcast_attn'],
  ...['cache_implementation', 'chunk_size_feed_forward', 'use_bfloat16', 'torchscript'],
  ...['output_past', 'output_attentions', 'output_hidden_states', 'return_dict', 'keys_to_ignore'],
  ...['use_flash_attn', 'fused_mlp', 'flash_attn', 'fused_bias_fc', 'use_return_dict'],
  ...['_flash_attn_2_enabled'],
  // initial values
  ...['initializer_range', 'initializer_factor', 'initializer_cutoff_factor'],
  // tokens, and settings of generation
  ...['bos_token_id', 'eos_token_id', 'pad_token_id', 'sep_token_id', 'cls_token_id'],
  ...['mask_token_id', 'unk_token_id', 'decoder_start_token_id', 'forced_bos_token_id'],
  ...['forced_eos_token_id', 'prefix', 'task_specific_params', 'max_length', 'min_length'],
  ...['do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty'],
  ...['temperature', 'top_k', 'top_p', 'typical_p', 'repetition_penalty', 'length_penalty'],
  // `eos_token_ids` is of transformers 2; newer versions do not read it
  ...['eos_token_ids', 'no_repeat_ngram_size', 'encoder_no_repeat_ngram_size', 'bad_words_ids'],
  ...['num_return_sequences', 'output_scores', 'return_dict_in_generate', 'suppress_tokens'],
  ...['begin_suppress_tokens', 'exponential_decay_length_penalty', 'remove_invalid_values'],
  ...['model_max_length', 'max_sequence_length', 'n_ctx', 'n_special', 'predict_special_tokens'],
  // labels of heads, and the dropout of heads
  ...['id2label', 'label2id', 'num_labels', '_num_labels', 'problem_type', 'classifier_dropout'],
  ...['classifier_dropout_prob', 'summary_activation', 'summary_first_dropout'],
  ...['summary_proj_to_labels', 'summary_type', 'summary_use_proj', 'pooler_fc_size'],
  ...['sbert_ce_default_activation_function'],
  ...['pooler_num_attention_heads', 'pooler_num_fc_layers', 'pooler_size_per_head', 'pooler_type'],
  // of the class, which `architectures` and `model_type` name
  ...['is_encoder_decoder', 'directionality'],
])
