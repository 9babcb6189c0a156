"""Recordings of the Python package x-transformers 2.31.10, for the options that 1.9.2 lacks.

usage:  python record.py [--out DIR] [--only SUBSTRING] [--list]

needs:  torch (CPU is enough), einops, einx, loguru, torch-einops-utils, frozendict, safetensors,
        x-transformers==2.31.10

The format is that of test/golden, whose script makes the files; README.md beside this script says
what differs.
"""
import argparse
import copy
import inspect
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from loguru import logger

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))

import generate as golden  # noqa: E402
from cases import CASES  # noqa: E402

golden.REFERENCE = {"package": "x-transformers", "version": "2.31.10"}
golden.TUPLE_KEYS |= {"max_attend_past", "softclamp_logits", "mult"}
plain_resolve = golden.resolve


def resolve(value, inputs, outputs):
    """Inputs inside an object, such as `embed_ids`, or inside a list, such as `mems`, too."""
    if isinstance(value, list):
        return [resolve(item, inputs, outputs) for item in value]
    if isinstance(value, dict) and not any(key.startswith("$") for key in value):
        return {key: resolve(item, inputs, outputs) for key, item in value.items()}
    return plain_resolve(value, inputs, outputs)


def copied(model):
    """A tied head is a function that holds its own model: that of a copy must hold the copy."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if inspect.isfunction(getattr(part, "to_logits", None)):
            part.to_logits = partial(tied_logits, part)
    return twin


def tied_logits(wrapper, hidden):
    return hidden @ wrapper.token_emb.emb.weight.t() * wrapper.tie_embedding_scale


@contextmanager
def track_margin(models, log):
    """While tokens are generated, note the gap between the best and second best logit."""
    def note(_module, _arguments, out):
        logits = out[0] if isinstance(out, tuple) else out
        top = logits[:, -1].topk(2).values
        log.append((top[:, 0] - top[:, 1]).min().item())

    nets = [model.net for model in models.values() if hasattr(model, "net")]
    hooks = [net.register_forward_hook(note) for net in nets]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


golden.resolve = resolve
golden.track_margin = track_margin
golden.copy = SimpleNamespace(deepcopy=copied)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logger.disable("x_transformers")
    for case in CASES:
        if arguments.only not in case.name:
            continue
        if not arguments.list:
            golden.produce(case, str(arguments.out))
        print(case.name, flush=True)


if __name__ == "__main__":
    main()
