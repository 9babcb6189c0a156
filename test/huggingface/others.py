"""The encoders and encoder-decoders that `record.py` records."""
from families import VOCAB, Case

BERT = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=16, type_vocab_size=2, pad_token_id=0)
ALBERT = dict(BERT, embedding_size=8, num_hidden_layers=3, bos_token_id=1, eos_token_id=2)
VIT = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
           image_size=12, patch_size=4, num_channels=3)
T5 = dict(vocab_size=VOCAB, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=4,
          relative_attention_num_buckets=8, relative_attention_max_distance=12,
          decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)


def old(config, model_type, architecture, **changes):
    return {"architectures": [architecture], "model_type": model_type, **config,
            "torch_dtype": "float32", **changes}


def case(name, kind, model_type, prefix, suffix, about, config, **settings):
    """`changes`: what the published file says otherwise."""
    changes = settings.pop("changes", {})
    architecture = f"{prefix}{suffix}"
    return Case(name, kind, f"{prefix}Config", architecture, config, about,
                old(config, model_type, architecture, **changes), **settings)


OTHERS = [
    case("bert", "encoder", "bert", "Bert", "ForPreTraining",
         "pooler, heads of masked tokens and of the next sentence; the first decoder is tied", BERT,
         changes=dict(position_embedding_type="absolute", gradient_checkpointing=False)),
    case("minilm", "encoder", "bert", "Bert", "Model", "BertModel: names without `bert.`",
         dict(BERT, layer_norm_eps=1e-12)),
    case("albert", "encoder", "albert", "Albert", "ForPreTraining",
         "three layers with one set of weights; embeddings of 8 features", ALBERT,
         changes=dict(net_structure_type=0, inner_group_num=1, num_hidden_groups=1)),
    case("albert-groups", "encoder", "albert", "Albert", "Model",
         "four layers in two groups, each of two inner layers; gelu by erf",
         dict(ALBERT, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2,
              hidden_act="gelu")),
    case("vit", "vision", "vit", "ViT", "ForImageClassification", "class token, no pooler",
         dict(VIT, id2label={"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"})),
    case("vit-model", "vision", "vit", "ViT", "Model", "ViTModel with pooler, no bias of q, k, v",
         dict(VIT, qkv_bias=False)),
    case("t5", "seq2seq", "t5", "T5", "ForConditionalGeneration",
         "version 1.0: relu, tied, logits of the decoder's output times d_model^-0.5", T5,
         changes=dict(feed_forward_proj="relu", tie_word_embeddings=True)),
    case("t5-v1.1", "seq2seq", "t5", "T5", "ForConditionalGeneration",
         "version 1.1: gated gelu by tanh, a head of its own, no factor",
         dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
              num_layers=3, num_decoder_layers=2)),
]
