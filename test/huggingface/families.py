"""The tiny models that `record.py` records, one entry for each family or variant of it.

`config` are the arguments of the configuration's class. `published` is the same configuration as
the published config.json files spell it, which transformers 4 wrote; record.py asserts that both
make the same model.
"""
from dataclasses import dataclass


@dataclass
class Case:
    name: str
    kind: str  # decoder, encoder, vision, seq2seq
    config_class: str
    model_class: str
    config: dict
    about: str
    published: dict
    length: int = 9  # of the forward pass, in tokens
    long: int | None = None  # length of a second forward pass: past a window or a limit
    weights: str | None = None  # the case whose weights this one has
    cache_differs: bool = False  # cached generation is not that without a cache


VOCAB = 48
TOKENS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
# heads times head_dim is not the hidden size, so that no layout hides behind equal numbers
WIDTHS = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
HEADS = dict(WIDTHS, head_dim=8)
# for families whose head_dim is the hidden size divided by the heads
WIDE = dict(WIDTHS, hidden_size=32, intermediate_size=40)


def rope(kind="default", theta=10000.0, **settings):
    return dict(rope_type=kind, rope_theta=theta, **settings)


def published(config, model_type, architecture, *, drop=(), **changes):
    """The configuration in the words of transformers 4: theta and scaling of the rotary embedding
    stand apart, and the default type has no entry."""
    old = {key: value for key, value in config.items() if key not in drop}
    parameters = dict(old.pop("rope_parameters", None) or {})
    if parameters:
        old["rope_theta"] = parameters.pop("rope_theta")
        scaled = parameters["rope_type"] != "default"
        old["rope_scaling"] = parameters if scaled else None
    return {"architectures": [architecture], "model_type": model_type, **old,
            "torch_dtype": "float32", **changes}


def decoder(name, model_type, prefix, about, config, *, drop=(), changes=None, **settings):
    """`drop`, `changes`: what the published file lacks, and says otherwise."""
    config = {**TOKENS, **config}
    architecture = prefix + ("LMHeadModel" if prefix == "GPT2" else "ForCausalLM")
    old = published(config, model_type, architecture, drop=drop, **(changes or {}))
    config_class = {"Gemma3": "Gemma3TextConfig"}.get(prefix, f"{prefix}Config")
    return Case(name, "decoder", config_class, architecture, config, about, old, **settings)


def llama(name, about, widths=HEADS, *, changes=None, case=None, **settings):
    config = {**widths, "rms_norm_eps": 1e-5, "rope_parameters": rope(), **settings}
    return decoder(name, "llama", "Llama", about, config, changes=changes, **(case or {}))


SHARED = dict(weights="llama-3")

LLAMA = [
    llama("llama-2", "no head_dim in the published file", WIDE),
    llama("llama-3", "llama3 scaling: one frequency is kept, one smoothed, two divided",
          max_position_embeddings=1024,
          rope_parameters=rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0,
                               high_freq_factor=4.0, original_max_position_embeddings=256)),
    llama("llama-linear", "linear scaling, in the oldest spelling (`type`)", case=SHARED,
          rope_parameters=rope("linear", factor=4.0),
          changes={"rope_scaling": {"type": "linear", "factor": 4.0}}),
    llama("llama-dynamic", "dynamic NTK scaling: theta grows with the length beyond 8 positions",
          case=dict(SHARED, long=12, length=7, cache_differs=True), max_position_embeddings=8,
          rope_parameters=rope("dynamic", factor=2.0),
          changes={"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    llama("llama-yarn", "YaRN with its defaults; one frequency is mixed", case=SHARED,
          max_position_embeddings=2048,
          rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=512)),
    llama("llama-yarn-settings", "YaRN with every setting: bounds, mscale, no truncation",
          case=SHARED, max_position_embeddings=2048,
          rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=512,
                               beta_fast=16.0, beta_slow=2.0, mscale=1.0, mscale_all_dim=0.5,
                               truncate=False)),
    llama("llama-bias", "attention_bias and mlp_bias, heads that all have keys of their own",
          attention_bias=True, mlp_bias=True, num_key_value_heads=4),
    llama("smollm-2", "Llama with tied embeddings", WIDE,
          tie_word_embeddings=True, rope_parameters=rope(theta=100000.0)),
    llama("falcon-3", "Llama with a head_dim that is not hidden_size / heads", rms_norm_eps=1e-6,
          case=SHARED, rope_parameters=rope(theta=1000042.0), changes={"mlp_bias": False}),
]


GPT2_WIDTHS = dict(vocab_size=VOCAB, n_positions=32, n_embd=16, n_layer=2, n_head=4)
NEOX = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64)
NEOX_OLD = dict(rotary_pct=0.25, rotary_emb_base=10000)

GPT = [
    decoder("gpt-2", "gpt2", "GPT2", "Conv1D weights are (in, out); tied", GPT2_WIDTHS),
    decoder("gpt-2-settings", "gpt2", "GPT2", "n_inner, relu, scores divided by the layer's number",
            dict(GPT2_WIDTHS, n_inner=20, activation_function="relu",
                 scale_attn_by_inverse_layer_idx=True)),
    decoder("gpt-neox", "gpt_neox", "GPTNeoX", "parallel block with two norms; fused qkv by head",
            dict(NEOX, rope_parameters=rope(partial_rotary_factor=0.25)),
            drop=("rope_parameters",), changes=NEOX_OLD),
    decoder("gpt-neox-serial", "gpt_neox", "GPTNeoX", "attention and feed-forward in turn",
            dict(NEOX, rope_parameters=rope(partial_rotary_factor=0.25),
                 use_parallel_residual=False), weights="gpt-neox",
            drop=("rope_parameters",), changes=NEOX_OLD),
]

LONGROPE = dict(short_factor=[1.0, 1.1, 1.25, 1.5], long_factor=[1.0, 2.0, 3.5, 6.0])

MORE_DECODERS = [
    decoder("mistral", "mistral", "Mistral", "a window of 6 keys in every layer",
            dict(HEADS, sliding_window=6, rms_norm_eps=1e-5, rope_parameters=rope()),
            weights="llama-3", long=16),
    decoder("qwen-2", "qwen2", "Qwen2", "biases of q, k and v only; the window of the file is off",
            dict(WIDE, rope_parameters=rope(theta=1000000.0)),
            changes=dict(use_sliding_window=False, sliding_window=4, max_window_layers=2)),
    decoder("qwen-2-window", "qwen2", "Qwen2", "a window in the layers from max_window_layers on",
            dict(WIDE, rope_parameters=rope(theta=1000000.0), use_sliding_window=True,
                 sliding_window=6, max_window_layers=1), weights="qwen-2", long=16),
    decoder("qwen-2.5", "qwen2", "Qwen2", "tied",
            dict(WIDE, tie_word_embeddings=True, rope_parameters=rope(theta=1000000.0)),
            changes=dict(use_sliding_window=False, sliding_window=4, max_window_layers=2)),
    decoder("qwen-3", "qwen3", "Qwen3", "RMSNorm of q and k, one weight per feature of a head",
            dict(HEADS, tie_word_embeddings=True, rope_parameters=rope(theta=1000000.0)),
            changes=dict(use_sliding_window=False, sliding_window=None, max_window_layers=2,
                         attention_bias=False)),
    decoder("gemma-1", "gemma", "Gemma", "norms by 1 + weight, embeddings times sqrt(hidden_size)",
            dict(HEADS, num_key_value_heads=1, rope_parameters=rope()),
            changes=dict(hidden_act="gelu", hidden_activation=None)),
    decoder("gemma-2", "gemma2", "Gemma2", "soft caps, norms on both sides, a window in layer 0",
            dict(HEADS, query_pre_attn_scalar=10, sliding_window=6, attn_logit_softcapping=2.0,
                 final_logit_softcapping=3.0, rope_parameters=rope()), long=16,
            changes=dict(hidden_act="gelu_pytorch_tanh", cache_implementation="hybrid")),
    decoder("gemma-3", "gemma3_text", "Gemma3", "norms of q and k; theta and scaling by layer type",
            dict(HEADS, num_hidden_layers=3, query_pre_attn_scalar=10, sliding_window=6,
                 layer_types=["sliding_attention", "sliding_attention", "full_attention"],
                 rope_parameters={"sliding_attention": rope(),
                                  "full_attention": rope("linear", 1000000.0, factor=8.0)}),
            long=16, drop=("layer_types", "rope_parameters"),
            changes=dict(sliding_window_pattern=3, rope_theta=1000000.0,
                         rope_local_base_freq=10000.0,
                         rope_scaling={"rope_type": "linear", "factor": 8.0})),
    decoder("phi-2", "phi", "Phi", "parallel block with one norm; biases, in lm_head too",
            dict(NEOX, num_key_value_heads=4, rope_parameters=rope(partial_rotary_factor=0.5)),
            drop=("rope_parameters",),
            changes=dict(rope_theta=10000.0, partial_rotary_factor=0.5, rope_scaling=None)),
    decoder("phi-3", "phi3", "Phi3", "fused qkv and gate_up; a window in every layer",
            dict(WIDE, sliding_window=6, rope_parameters=rope(),
                 original_max_position_embeddings=64),
            long=16),
    decoder("phi-3-longrope", "phi3", "Phi3", "short factors up to 10 positions, long ones beyond",
            dict(WIDE, max_position_embeddings=40, original_max_position_embeddings=10,
                 rope_parameters=rope("longrope", partial_rotary_factor=1.0, **LONGROPE)),
            weights="phi-3", long=14, drop=("rope_parameters",),
            changes=dict(rope_theta=10000.0, rope_scaling={"type": "longrope", **LONGROPE})),
    decoder("olmo-1", "olmo", "Olmo", "LayerNorm without weight and bias",
            dict(WIDE, num_key_value_heads=4, rope_parameters=rope())),
    decoder("olmo-1-clip", "olmo", "Olmo", "clip_qkv",
            dict(WIDE, num_key_value_heads=4, clip_qkv=0.9, rope_parameters=rope()),
            weights="olmo-1"),
    decoder("olmo-2", "olmo2", "Olmo2", "norms of branches' outputs; q, k normed over all heads",
            dict(WIDE, rope_parameters=rope(theta=500000.0))),
    decoder("stablelm", "stablelm", "StableLm", "a quarter of a head rotates; biases of q, k, v",
            dict(WIDE, use_qkv_bias=True, rope_parameters=rope(partial_rotary_factor=0.25)),
            drop=("rope_parameters",),
            changes=dict(rope_theta=10000, partial_rotary_factor=0.25, qk_layernorm=False)),
    decoder("stablelm-parallel", "stablelm", "StableLm", "parallel block with one norm",
            dict(WIDE, use_parallel_residual=True,
                 rope_parameters=rope(partial_rotary_factor=0.25)),
            drop=("rope_parameters",), changes=dict(rope_theta=10000, partial_rotary_factor=0.25)),
    decoder("smollm-3", "smollm3", "SmolLM3", "the second layer has no rotary embedding; tied",
            dict(WIDE, no_rope_layer_interval=2, no_rope_layers=[1, 0],
                 rope_parameters=rope(theta=5000000.0))),
    decoder("granite", "granite", "Granite", "factors of embeddings, scores, branches and logits",
            dict(WIDE, tie_word_embeddings=True, embedding_multiplier=3.0, logits_scaling=2.5,
                 residual_multiplier=0.7, attention_multiplier=0.2,
                 rope_parameters=rope(theta=5000000.0))),
]

DECODERS = GPT + LLAMA + MORE_DECODERS
