"""Checkpoints as Python writes them, for the tests of reading them.

usage:  python generate.py [--out DIR]

needs:  torch (CPU is enough), einops, safetensors, x-transformers==1.9.2

See README.md for what each file is.
"""
import argparse
import json
import os
import sys
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

OPTIONS = {"num_tokens": 11, "max_seq_len": 16}
LAYERS = {"dim": 8, "depth": 1, "heads": 2, "attn_dim_head": 4, "ff_mult": 1}


def make():
    torch.manual_seed(1)
    model = TransformerWrapper(**OPTIONS, attn_layers=Decoder(**LAYERS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model.eval()


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).flatten().tolist()


def rounded(model, dtype):
    """The model with its weights as `dtype` holds them."""
    copy = make()
    copy.load_state_dict({name: value.to(dtype).float() for name, value in model.state_dict().items()})
    return copy


def prefixed(state, prefix):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def models(out):
    model = make()
    state = model.state_dict()
    tokens = (torch.arange(9) * 7 + 3).reshape(1, 9) % 11
    path = lambda name: os.path.join(out, name)
    torch.save(state, path("model.pt"))
    torch.save(dict(state), path("protocol4.pt"), pickle_protocol=4)
    torch.save(torch.nn.DataParallel(model).state_dict(), path("parallel.pt"))
    torch.save(AutoregressiveWrapper(model).state_dict(), path("autoregressive.pt"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    nested = {"epoch": 3, "loss": 0.5, "state_dict": state, "optimizer": optimizer.state_dict(), "done": False, "none": None}
    torch.save(nested, path("nested.pt"))
    torch.save({"model": state, "ema": {name: value * 0 for name, value in state.items()}}, path("two.pt"))
    torch.save({name: value.bfloat16() for name, value in state.items()}, path("bf16.pt"))
    torch.save({"parameter": model.to_logits.weight, "count": 3}, path("parameter.pt"))
    save_file(state, path("model.safetensors"))
    save_file({name: value.half() for name, value in state.items()}, path("f16.safetensors"))
    save_file({name: value.bfloat16() for name, value in state.items()}, path("bf16.safetensors"))
    sharded(state, path)
    want = {
        "options": OPTIONS,
        "layers": LAYERS,
        "tokens": tokens.flatten().tolist(),
        "logits": logits(model, tokens),
        "f16": logits(rounded(model, torch.float16), tokens),
        "bf16": logits(rounded(model, torch.bfloat16), tokens),
    }
    write(path("model.json"), want)
    refused(model, state, path)


def sharded(state, path):
    names = list(state)
    parts = [names[0::2], names[1::2]]
    weight_map = {}
    for i, part in enumerate(parts):
        file = f"sharded-{i + 1:05}-of-{len(parts):05}.safetensors"
        save_file({name: state[name].contiguous() for name in part}, path(file))
        weight_map.update({name: file for name in part})
    total = sum(value.numel() * value.element_size() for value in state.values())
    write(path("sharded.safetensors.index.json"), {"metadata": {"total_size": total}, "weight_map": weight_map})


class Command:
    """What a hostile file could contain: unpickled, it would run a command."""

    def __reduce__(self):
        return os.system, ("touch pickle-was-executed",)


def refused(model, state, path):
    small = OrderedDict([("weight", torch.ones(3)), ("bias", torch.zeros(2))])
    torch.save(small, path("old.pt"), _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(3), "run": Command()}, path("hostile.pt"))
    torch.save(model, path("whole.pt"))
    torch.save({"weight": torch.ones(3), "odd": torch.ones(2, dtype=torch.complex64)}, path("complex.pt"))
    torch.save([torch.ones(3)], path("list.pt"))
    torch.save(small, path("small.pt"))
    again(path("small.pt"), path("packed.pt"), compression=zipfile.ZIP_DEFLATED)
    again(path("small.pt"), path("big-endian.pt"), change={"byteorder": b"big"})
    again(path("small.pt"), path("missing.pt"), drop="data/1")
    again(path("small.pt"), path("other.zip"), drop="data.pkl")


def again(source, target, compression=zipfile.ZIP_STORED, change={}, drop=None):
    """The same records in a zip file of Python's own."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            inner = name.split("/", 1)[1]
            if inner != drop:
                new.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), change.get(inner, old.read(name)), compression)


def views(out):
    base = torch.arange(24, dtype=torch.float32) / 4
    tensors = OrderedDict(
        whole=base.reshape(4, 6),
        transposed=base.reshape(4, 6).t(),
        row=base.reshape(4, 6)[2],
        column=base.reshape(4, 6)[:, 1],
        block=base.reshape(2, 3, 4)[:, 1:, ::2],
        expanded=base[5].expand(2, 3),
        scalar=torch.tensor(-1.5),
        empty=torch.zeros(0, 3),
        f64=torch.tensor([0.1, -2.0], dtype=torch.float64),
        f16=torch.tensor([0.5, -2.0, 65504.0], dtype=torch.float16),
        bf16=torch.tensor([0.5, -2.0, 3.0], dtype=torch.bfloat16),
        i64=torch.tensor([2**40, -7]),
        i32=torch.tensor([2**30, -7], dtype=torch.int32),
        i16=torch.tensor([300, -7], dtype=torch.int16),
        i8=torch.tensor([100, -7], dtype=torch.int8),
        u8=torch.tensor([200, 7], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
    )
    torch.save(tensors, os.path.join(out, "views.pt"))
    contiguous = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_file(contiguous, os.path.join(out, "views.safetensors"))
    rows = {name: {"shape": list(v.shape), "data": v.flatten().tolist()} for name, v in tensors.items()}
    write(os.path.join(out, "views.json"), rows)


def write(path, value):
    with open(path, "w") as file:
        file.write(json.dumps(value) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    out = parser.parse_args().out
    os.makedirs(out, exist_ok=True)
    models(out)
    views(out)


if __name__ == "__main__":
    sys.exit(main())
