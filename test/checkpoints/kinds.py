"""Checkpoints with all that PyTorch and safetensors put into files, for the tests of reading them.

usage:  python kinds.py [--out DIR]

needs:  torch 2.7 or newer (CPU is enough), safetensors 0.6 or newer

See README.md for what each file is.
"""
import argparse
import json
import os
from collections import Counter, OrderedDict

import torch
from safetensors.torch import save_file

FLOATS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


def small():
    return OrderedDict(weight=torch.arange(6, dtype=torch.float32).reshape(2, 3), bias=torch.tensor([-1.0, 0.5]))


def beside(path):
    """What torch.load(weights_only=True) takes beside weights."""
    dtypes = [getattr(torch, name) for name in (*FLOATS, "int32", "uint16", "bool", "float16", "complex64", "qint8")]
    checkpoint = {
        "dtypes": dtypes,
        "sets": [set(), {1, 2}],
        "bytes": [b"\x80abc", bytearray(), bytearray(b"abc\xff")],
        "counter": Counter("aab"),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "layout": torch.strided,
        "qscheme": torch.per_channel_affine,
        "numbers": [1, -1, 2**40, 2**80, 0.5, float("nan"), True, None, 1 + 2j],
        "nested": {"a": [({"b": torch.ones(2)},)]},
        "rng_state": torch.get_rng_state()[:32].clone(),
        "storage": torch.ones(2).untyped_storage(),
        "model": small(),
        "best_val_loss": torch.tensor(1.5),
    }
    torch.save(checkpoint, path("beside.pt"))


def attributes(path):
    def noted(tensor):
        tensor.note = {"why": "a test"}
        return tensor

    parameter = torch.nn.Parameter
    state = small()
    torch.save(
        OrderedDict(
            weight=noted(parameter(state["weight"])),
            bias=noted(state["bias"]),
            buffer=torch.nn.Buffer(torch.tensor([3.0])),
            frozen=parameter(torch.tensor([4.0]), requires_grad=False),
        ),
        path("attributes.pt"),
    )


def types(path):
    every = torch.arange(256, dtype=torch.uint8)
    tensors = {name: every.clone().view(getattr(torch, name)) for name in FLOATS}
    tensors["uint16"] = torch.tensor([0, 1, 2**16 - 1], dtype=torch.uint16)
    tensors["uint32"] = torch.tensor([0, 1, 2**32 - 1], dtype=torch.uint32)
    tensors["uint64"] = torch.tensor([0, 1, 2**53], dtype=torch.uint64)
    torch.save(tensors, path("types.pt"))
    save_file(tensors, path("types.safetensors"))
    value = lambda x: str(x) if x != x or abs(x) == float("inf") else x
    rows = {name: [value(x) for x in t.to(torch.float64).tolist()] for name, t in tensors.items()}
    with open(path("types.json"), "w") as file:
        file.write(json.dumps(rows) + "\n")
    large = {"large": torch.tensor([1, 2**63], dtype=torch.uint64)}
    torch.save(large, path("large.pt"))
    save_file(large, path("large.safetensors"))


def strange(path):
    """Tensors whose values are not read, each in a dict of its name."""
    pair = torch.tensor([1 + 2j, 3 - 4j])
    shared = torch.tensor([1, 2], dtype=torch.uint16)
    tensors = {
        "neg": pair.clone().conj().imag,
        "conj": pair.conj(),
        "complex": pair,
        "half_complex": pair.to(torch.complex32),
        "sparse": torch.eye(2).to_sparse(),
        "compressed": torch.eye(2).to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "meta": torch.empty(2, device="meta"),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "bits": torch.tensor([1, 2], dtype=torch.uint8).view(torch.bits8),
        "packed": torch.tensor([1, 2], dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    }
    checkpoint = {name: {"x": tensor} for name, tensor in tensors.items()}
    checkpoint["shared"] = {"w": shared, "x": shared.view(torch.float8_e5m2)}
    torch.save(checkpoint, path("strange.pt"))


def choices(path):
    state = small()
    torch.save(state["weight"], path("tensor.pt"))
    torch.save((state["weight"], torch.nn.Parameter(state["bias"])), path("tuple.pt"))
    linear = torch.nn.Linear(3, 2)
    linear.load_state_dict(state)
    torch.save(torch.compile(torch.nn.DataParallel(linear)).state_dict(), path("compiled.pt"))
    stats = {"mean": torch.zeros(1)}
    torch.save({"stats": stats, "state_dict": state, "rng_state": torch.zeros(4, dtype=torch.uint8)}, path("usual.pt"))
    torch.save({"stats": stats, "backbone": state}, path("unusual.pt"))
    torch.save({"backbone": state, "mean": torch.zeros(1)}, path("outer.pt"))
    torch.save([{"a.b": {"c": state}}], path("deep.pt"))
    torch.serialization.set_crc32_options(False)
    torch.save(state, path("unchecked.pt"))
    torch.serialization.set_crc32_options(True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    out = parser.parse_args().out
    path = lambda name: os.path.join(out, name)
    torch.manual_seed(1)
    for make in (beside, attributes, types, strange, choices):
        make(path)


if __name__ == "__main__":
    main()
