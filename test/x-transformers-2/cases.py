"""The cases that `record.py` records. Every model is small; every parameter is random."""
import torch

import generate as golden
from generate import Case, In, M, call, normal, ragged, tokens

# heads times the head dimension is not the width, so that no layout hides behind equal numbers
golden.BASE = dict(dim=12, depth=1, heads=4, attn_dim_head=4, ff_mult=2)
golden.VOCAB = 24
BATCH, LENGTH, WIDTH, VOCAB = 2, 12, 12, 24
FULL = dict(rotary_pos_emb=True, rotary_emb_dim=4)  # every feature of a head rotates
GREEDY = dict(temperature=0.0)

lm, layers, wrap, vit = golden.lm, golden.layers, golden.wrap, golden.vit


def masked(name, cls="Decoder", **settings):
    return lm(name, cls, mask=ragged(LENGTH, LENGTH, 7), **settings)


def cross(name, about, **settings):
    inputs = {"x": tokens(BATCH, LENGTH, VOCAB), "context": normal(BATCH, 7, WIDTH),
              "context_mask": ragged(7, 7, 4)}
    given = dict(context=In("context"), context_mask=In("context_mask"))
    return Case(name, wrap(layers("Decoder", cross_attend=True, **settings)), inputs,
                [call("logits", In("x"), **given)], ["logits"], about=about)


def same_and_varied(outs):
    rows = outs["tokens"].tolist()
    return rows == outs["uncached"].tolist() and min(len(set(row)) for row in rows) > 3


def greedy(name, about, **settings):
    """Twelve tokens after five; with and without the cache they must be the same."""
    net = wrap(layers(**settings), max_seq_len=32)
    return Case(name, M("AutoregressiveWrapper", net=net), {"x": tokens(BATCH, 5, VOCAB)},
                [call("tokens", In("x"), 12, method="generate", **GREEDY),
                 call("uncached", In("x"), 12, method="generate", cache_kv=False, **GREEDY)],
                margins=True, about=about,
                accept=same_and_varied)


def embedded(name, about):
    kinds = {"kinds": lambda g: torch.randint(0, 3, (BATCH, LENGTH), generator=g)}
    return Case(name, wrap(layers("Encoder"), embed_num_tokens={"kind": 3}),
                {"x": tokens(BATCH, LENGTH, VOCAB), **kinds},
                [call("logits", In("x"), embed_ids={"kind": In("kinds")})], ["logits"],
                about=about)


def heads(name, about):
    return Case(name, wrap(layers(), num_output_heads=2), {"x": tokens(BATCH, LENGTH, VOCAB)},
                [call(["logits0", "logits1"], In("x"))], ["logits0", "logits1"], about=about)


def prepended(name, about):
    inputs = {"x": tokens(BATCH, 8, VOCAB), "embeds": normal(BATCH, 3, WIDTH),
              "prepend_mask": ragged(3, 3, 2), "mask": ragged(8, 6, 8)}
    given = {"prepend_embeds": In("embeds"), "prepend_mask": In("prepend_mask"),
             "mask": In("mask"), "excise_prepend_embeds": True}
    return Case(name, wrap(layers("Encoder")), inputs, [call("logits", In("x"), **given)],
                ["logits"], about=about)


def image(name, about, **settings):
    model = vit(image_size=8, patch_size=4, num_classes=5, **settings)
    return Case(name, model, {"img": normal(BATCH, 3, 8, 8)}, [call("logits", In("img"))],
                ["logits"], about=about)


DIALECT = [
    lm("decoder", depth=2, about="LayerNorm x (1 + gamma) without bias; no bias at the logits"),
    masked("encoder-mask", "Encoder", about="keys masked, outputs of masked positions zeroed"),
    lm("norm-no-unit-offset", norm_add_unit_offset=False, about="LayerNorm x gamma"),
    lm("rmsnorm", use_rmsnorm=True, about="RMSNorm x (1 + g)"),
    lm("rmsnorm-no-unit-offset", use_rmsnorm=True, norm_add_unit_offset=False,
       about="RMSNorm x g"),
    lm("scalenorm", use_scalenorm=True, about="norm x sqrt(dim) x (1 + g)"),
    lm("simple-rmsnorm", use_simple_rmsnorm=True, about="RMSNorm without parameters"),
    lm("post-norm", pre_norm=False, depth=2, about="norms after the sum; no final norm"),
    lm("no-final-norm", pre_norm_has_final_norm=False, about="pre_norm_has_final_norm=False"),
    lm("sandwich-norm", sandwich_norm=True, use_rmsnorm=True, about="norms around each branch"),
    lm("pre-and-post-norm", pre_and_post_norm=True, depth=2,
       about="norm before the branch and after the sum; no final norm"),
    lm("tie-embedding", w=dict(tie_embedding=True), about="logits times dim^-0.5"),
    lm("tie-embedding-scale", w=dict(tie_embedding=True, tie_embedding_scale=1.0),
       about="logits unscaled"),
    image("vit", "mean pool; LayerNorms without bias around the patches"),
]

ATTENTION = [
    lm("kv-heads", attn_kv_heads=2, about="two heads of queries share a head of keys and values"),
    masked("kv-heads-rotary-mask", attn_kv_heads=2, **FULL, about="the same with rotary and mask"),
    masked("kv-heads-mem-kv", attn_kv_heads=2, attn_num_mem_kv=2, about="learned keys and values"),
    cross("cross-kv-heads", "kv_heads of self attention hold for cross attention too",
          attn_kv_heads=2),
    lm("qk-rmsnorm", attn_qk_rmsnorm=True, about="RMSNorm of q and k x (1 + gamma), by head"),
    lm("qk-rmsnorm-kv-heads-rotary", attn_qk_rmsnorm=True, attn_kv_heads=2, **FULL,
       about="norms before the rotation"),
    lm("k-rmsnorm-kv-heads-rotary", attn_k_rmsnorm=True, attn_kv_heads=2, **FULL,
       about="norms of the keys alone"),
    lm("no-project-out", attn_dim_head=3, attn_project_out=False,
       about="the heads side by side are the output"),
    lm("softclamp-logits", attn_softclamp_logits=True, attn_logit_softclamp_value=1.5,
       about="scores become 1.5 tanh(scores / 1.5)"),
    masked("softclamp-logits-alibi", attn_softclamp_logits=True, attn_logit_softclamp_value=1.5,
           alibi_pos_bias=True, alibi_num_heads=4, about="the clamp comes after the bias"),
    lm("head-learned-sink", attn_head_learned_sink=True, about="a learned score per head"),
    masked("head-learned-sink-mask", "Encoder", attn_head_learned_sink=True, attn_kv_heads=2,
           about="the sink with a mask and shared keys"),
    lm("add-zero-kv", attn_add_zero_kv=True, about="a zero key and value in front"),
    masked("add-zero-kv-mask", "Encoder", attn_add_zero_kv=True, attn_kv_heads=2,
           about="the same with a mask and shared keys"),
    lm("max-attend-past-layers", depth=3, attn_max_attend_past=[2, None, 4],
       about="a window per layer; 2 means the token itself and two before"),
    lm("values-per-layer", depth=2, ff_mult=[2, 3], attn_softclamp_logits=[True, False],
       attn_logit_softclamp_value=1.5, about="other options per layer"),
]

POSITIONS = [
    lm("rotary", **FULL, about="neighbouring features are a pair; values do not rotate"),
    lm("rotary-half", rotary_pos_emb=True, attn_dim_head=8, about="half of each head rotates"),
    lm("rotary-interpolation", rotary_interpolation_factor=2.5, **FULL,
       about="positions divided by 2.5"),
    lm("rotary-base-rescale", rotary_base_rescale_factor=3.0, **FULL,
       about="theta times 3^(d / (d - 2)), d the width that rotates"),
    lm("rotate-num-heads", rotate_num_heads=2, **FULL, about="only the last two heads rotate"),
    Case("rotary-pos", wrap(layers(**FULL)),
         {"x": tokens(BATCH, LENGTH, VOCAB), "pos": lambda g: torch.arange(LENGTH) * 3 + 1},
         [call("logits", In("x"), pos=In("pos"))], ["logits"], about="given positions"),
    Case("cross-rotary-pos", wrap(layers("Decoder", cross_attend=True, **FULL)),
         {"x": tokens(BATCH, LENGTH, VOCAB), "context": normal(BATCH, 7, WIDTH),
          "context_pos": lambda g: torch.arange(7) * 2 + 1},
         [call("logits", In("x"), context=In("context"), context_pos=In("context_pos"))],
         ["logits"], about="rotary positions in cross attention"),
    Case("mem-masks", wrap(layers(depth=2, attn_num_mem_kv=1, pre_norm=False)),
         {"x": tokens(BATCH, 8, VOCAB), "mem0": normal(BATCH, 4, WIDTH),
          "mem1": normal(BATCH, 4, WIDTH), "mask0": ragged(4, 2, 4), "mask1": ragged(4, 3, 1)},
         [call("logits", In("x"), mems=[In("mem0"), In("mem1")],
               mem_masks=[In("mask0"), In("mask1")])],
         ["logits"], about="masks of memories, which with pre_norm would be normed"),
    Case("seq-start-pos", wrap(layers()),
         {"x": tokens(BATCH, LENGTH, VOCAB), "start": lambda g: torch.tensor([0, 4])},
         [call("logits", In("x"), seq_start_pos=In("start"))],
         about="left padding: positions count from the start, keys before it are masked; rows "
               "before it see no key and mean nothing"),
]

LAYERS = [
    lm("layerscale", use_layerscale=True, layerscale_init_value=0.1,
       about="each branch times (1 + gamma)"),
    lm("layerscale-no-unit-offset", use_layerscale=True, layerscale_init_value=0.1,
       norm_add_unit_offset=False, about="each branch times gamma"),
    lm("scale-residual-constant", scale_residual_constant=1.5, about="as in 1.9.2"),
    lm("depth-scale-residual", depth_scale_residual=0.6, about="a number: branches times 0.6"),
    lm("value-residual", depth=3, add_value_residual=True, attn_kv_heads=4,
       about="values mixed with the first layer's, by head and token"),
    lm("value-residual-half", depth=3, add_value_residual=True, learned_value_residual_mix=False,
       attn_kv_heads=2, about="half and half"),
    lm("weight-tie-layers", depth=3, weight_tie_layers=True, about="one layer three times"),
    lm("ff-swiglu-no-bias", ff_glu=True, ff_swish=True, ff_no_bias=True,
       about="no_bias holds for the output only"),
    lm("ff-glu-mult-bias", ff_glu=True, ff_glu_mult_bias=True,
       about="a learned factor of each feature of the gated unit"),
    lm("ff-relu-squared", ff_relu_squared=True, about="relu(x)^2"),
]

WRAPPERS = [
    lm("cls-token", "Encoder", w=dict(use_cls_token=True), about="logits of the class token"),
    masked("cls-tokens-mask", "Encoder", w=dict(use_cls_token=True, num_cls_tokens=2),
           about="two class tokens and a mask"),
    masked("average-pool-embed", "Encoder", w=dict(average_pool_embed=True, logits_dim=5),
           about="mean over the positions that are not masked"),
    lm("squeeze-out-last-dim", "Encoder",
       w=dict(average_pool_embed=True, logits_dim=1, squeeze_out_last_dim=True),
       about="one number per row"),
    embedded("embed-num-tokens", "embeddings of kinds are added"),
    heads("num-output-heads", "two heads"),
    prepended("prepend-mask", "a mask of the embeddings in front, which are cut off again"),
    image("vit-register-tokens", "registers stand behind the patches", num_register_tokens=3),
]

GENERATION = [
    greedy("generate-kv-heads", "shared keys in the cache", attn_kv_heads=2, depth=2),
    greedy("generate-rotary", "rotary, qk norm, a sink and a window per layer", depth=2,
           attn_qk_rmsnorm=True, attn_head_learned_sink=True, attn_max_attend_past=[3, None],
           **FULL),
    greedy("generate-value-residual", "the cache of value residuals", depth=3,
           add_value_residual=True, **FULL),
]

CASES = DIALECT + ATTENTION + POSITIONS + LAYERS + WRAPPERS + GENERATION
