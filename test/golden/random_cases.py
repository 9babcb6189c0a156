"""Recorded cases with random combinations of options, in the format of generate.py.

usage:  python random_cases.py --out DIR [--count N] [--seed S]

needs:  what generate.py needs

Then `npm run parity -- DIR`. Combinations that the Python package refuses, or whose results rounding alone would move
too far, are left out.
"""
import argparse
import random

import torch

from generate import B, N, Case, M, In, Out, call, cross, holes, normal, produce, ragged, tokens

VOCAB = 36


def chance(r, p):
    return r.random() < p


def layer_options(r, cls):
    """Options of Encoder, Decoder or CrossAttender, each with a small probability."""
    causal = cls == "Decoder"
    heads = r.choice([1, 2, 3, 4])
    rotary = chance(r, 0.25)
    dim_head = r.choice([32, 40]) if rotary else r.choice([6, 8, 10, 12])
    kw = dict(dim=24, depth=r.choice([1, 2, 3]), heads=heads, attn_dim_head=dim_head, ff_mult=r.choice([1, 2, 1.5]))

    def maybe(p, **more):
        if chance(r, p):
            kw.update(more)

    if rotary and cls != "CrossAttender":
        kw.update(rotary_pos_emb=True)
        maybe(0.4 if causal else 0, rotary_xpos=True, rotary_xpos_scale_base=r.choice([16, 512]))
    else:
        kind = r.choice(["none", "none", "alibi", "rel", "dynamic"])
        if kind == "alibi":
            kw.update(alibi_pos_bias=True)
            maybe(0.3, alibi_num_heads=r.randint(1, heads))
            if kw.get("alibi_num_heads", heads) == heads:
                maybe(0.4, alibi_learned=True)
        if kind == "rel":
            kw.update(rel_pos_bias=True, rel_pos_num_buckets=r.choice([8, 12, 32]), rel_pos_max_distance=r.choice([32, 128]))
        if kind == "dynamic":
            kw.update(dynamic_pos_bias=True, dynamic_pos_bias_log_distance=chance(r, 0.5), dynamic_pos_bias_norm=chance(r, 0.5),
                      dynamic_pos_bias_mlp_depth=r.choice([1, 2, 3]))
    norm = r.choice(["", "", "use_scalenorm", "use_rmsnorm"])
    if norm:
        kw[norm] = True
    style = r.choice(["pre", "pre", "post", "sandwich", "deepnorm"])
    if style == "post":
        kw.update(pre_norm=False)
    if style == "sandwich":
        kw.update(sandwich_norm=True)
    if style == "deepnorm":
        kw.update(deepnorm=True)
    else:
        maybe(0.15, scale_residual=True)
        maybe(0.1, scale_residual_constant=1.3)
    maybe(0.15, gate_residual=True)
    maybe(0.15, macaron=True)
    maybe(0.1, sandwich_coef=1)
    maybe(0.15, residual_attn=True)
    maybe(0.15, shift_tokens=r.choice([1, 2]))
    maybe(0.1, cross_residual_attn=True)
    maybe(0.3, ff_glu=True)
    maybe(0.3, ff_swish=True)
    maybe(0.15, ff_relu_squared=True)
    maybe(0.15, ff_post_act_ln=True)
    maybe(0.15, ff_no_bias=True)
    maybe(0.15, attn_talking_heads=True)
    maybe(0.15, attn_head_scale=True)
    maybe(0.15, attn_sparse_topk=r.choice([2, 4]))
    maybe(0.15, attn_on_attn=True)
    maybe(0.15, attn_gate_values=True)
    maybe(0.1, attn_max_attend_past=r.choice([2, 5]))
    maybe(0.15, attn_tensor_product=True)
    maybe(0.1, attn_shared_kv=True)
    if chance(r, 0.25):
        kw.update(attn_qk_norm=True, attn_qk_norm_dim_scale=chance(r, 0.5), attn_qk_norm_scale=r.choice([5, 10]))
        maybe(0.4, attn_qk_norm_groups=2)
    if chance(r, 0.2):
        kw.update(attn_one_kv_head=True)
        kw.pop("attn_tensor_product", None)
    elif not kw.get("dynamic_pos_bias"):
        maybe(0.25, attn_num_mem_kv=r.choice([1, 3]))
    if not rotary and not kw.get("attn_num_mem_kv") and not kw.get("attn_shared_kv"):
        maybe(0.1, attn_value_dim_head=r.choice([5, 9]))
    return kw


def token_case(r, name):
    cls = r.choice(["Decoder", "Decoder", "Encoder"])
    kw = layer_options(r, cls)
    inputs, call_kw = {"x": tokens(B, N, VOCAB)}, {}
    wrapper = dict(num_tokens=VOCAB, max_seq_len=16)
    for p, more in [(0.2, dict(post_emb_norm=True)), (0.2, dict(emb_dim=r.choice([10, 32]))), (0.15, dict(logits_dim=7)),
                    (0.15, dict(scaled_sinu_pos_emb=True)), (0.2, dict(use_abs_pos_emb=False)), (0.15, dict(emb_frac_gradient=0.3)),
                    (0.2, dict(num_memory_tokens=2))]:
        if chance(r, p):
            wrapper.update(more)
    if not wrapper.get("scaled_sinu_pos_emb") and chance(r, 0.15):
        wrapper.update(l2norm_embed=True)
    if chance(r, 0.3):
        kw.update(cross_attend=True)
        inputs.update(context=normal(B, 7, 24), context_mask=ragged(7, 7, 4))
        call_kw.update(context=In("context"), context_mask=In("context_mask"))
    if chance(r, 0.4):
        inputs["mask"] = ragged(N, N, 8)
        call_kw["mask"] = In("mask")
    plain = not kw.get("attn_num_mem_kv") and not wrapper.get("num_memory_tokens")
    if plain and chance(r, 0.2):
        inputs["attn_mask"] = holes(N, N)
        call_kw["attn_mask"] = In("attn_mask")
    if chance(r, 0.15):
        inputs["sum"] = normal(B, N, wrapper.get("emb_dim", 24))
        call_kw["sum_embeds"] = In("sum")
    if chance(r, 0.2):
        return Case(name, M("TransformerWrapper", **wrapper, attn_layers=M(cls, **kw)), inputs,
                    [call(["logits", "attn.*"], In("x"), return_attn=True, **call_kw)], ["logits"])
    return Case(name, M("TransformerWrapper", **wrapper, attn_layers=M(cls, **kw)), inputs, [call("logits", In("x"), **call_kw)], ["logits"])


def memory_case(r, name):
    kw = layer_options(r, "Decoder")
    for k in ["rotary_xpos", "rotary_xpos_scale_base", "dynamic_pos_bias", "dynamic_pos_bias_log_distance", "dynamic_pos_bias_norm",
              "dynamic_pos_bias_mlp_depth", "alibi_pos_bias", "alibi_num_heads", "alibi_learned"]:
        kw.pop(k, None)
    inputs = {f"seg{i}": tokens(B, 6, VOCAB) for i in range(3)}
    calls = [call([f"logits{i}", f"mems{i}.*"], In(f"seg{i}"), return_mems=True, **({"mems": Out(f"mems{i - 1}.*")} if i else {}))
             for i in range(3)]
    model = M("TransformerWrapper", num_tokens=VOCAB, max_seq_len=16, max_mem_len=r.choice([0, 4, 9]), shift_mem_down=r.choice([0, 1]),
              attn_layers=M("Decoder", **kw))
    return Case(name, model, inputs, calls, ["logits0", "logits1", "logits2"])


def seq2seq_case(r, name):
    half = lambda prefix, cls: {prefix + k: v for k, v in layer_options(r, cls).items() if k != "dim"}
    kw = dict(dim=24, enc_num_tokens=VOCAB, enc_max_seq_len=16, dec_num_tokens=VOCAB, dec_max_seq_len=16, tie_token_emb=chance(r, 0.5),
              **half("enc_", "Encoder"), **half("dec_", "Decoder"))
    return Case(name, M("XTransformer", **kw), {"src": tokens(B, 10, VOCAB), "tgt": tokens(B, N, VOCAB), "mask": ragged(10, 10, 6)},
                [call("loss", In("src"), In("tgt"), mask=In("mask"))], ["loss"])


def continuous_case(r, name):
    cls = r.choice(["Encoder", "Decoder"])
    net = M("ContinuousTransformerWrapper", max_seq_len=16, dim_in=7, dim_out=7, post_emb_norm=chance(r, 0.3), attn_layers=M(cls, **layer_options(r, cls)))
    return Case(name, net, {"x": normal(B, N, 7), "mask": ragged(N, N, 8)}, [call("out", In("x"), mask=In("mask"))], ["out"])


def image_case(r, name):
    model = M("ViTransformerWrapper", image_size=16, patch_size=r.choice([4, 8]), num_classes=r.choice([None, 5]), post_emb_norm=chance(r, 0.3),
              attn_layers=M("Encoder", **layer_options(r, "Encoder")))
    return Case(name, model, {"img": normal(B, 3, 16, 8)}, [call("out", In("img"))], ["out"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--count", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    r, made, refused = random.Random(a.seed), 0, 0
    while made < a.count:
        kind = r.choice([token_case] * 5 + [memory_case, seq2seq_case, continuous_case, image_case])
        case = kind(r, f"random-{a.seed}-{made}")
        try:
            produce(case, a.out)
            made += 1
        except Exception:  # the package refuses the combination, or rounding moves its results
            refused += 1
    print(f"{made} cases, {refused} combinations left out")


if __name__ == "__main__":
    main()
