"""Recordings of Python's `transformers`, for the tests of `fromHuggingFace`.

usage:  python record.py [--out DIR] [--only SUBSTRING]

needs:  torch (CPU is enough), safetensors, transformers

For each family a tiny model with random weights: NAME.safetensors (the weights, as
`save_pretrained` writes them) and NAME.json (the configuration, inputs, and what came out).
README.md beside this script describes both.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
import transformers

import folders
from families import DECODERS
from models import load, saved, spelled_as_published
from others import OTHERS
from recording import record

HERE = Path(__file__).resolve().parent
CASES = DECODERS + OTHERS


def text(value, indent=""):
    """JSON: objects over several lines, lists of numbers on one."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        rows = [f"{inner}{json.dumps(key)}: {text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return json.dumps(value, separators=(",", ":"))


def assert_published_is_equal(case, path):
    """The configuration in the words of the published files makes the same model."""
    ids = torch.arange(3, 12)[None, :]
    inputs = {"decoder": {"input_ids": ids}, "encoder": {"input_ids": ids},
              "vision": {"pixel_values": torch.linspace(-1, 1, 432).reshape(1, 3, 12, 12)},
              "seq2seq": {"input_ids": ids, "decoder_input_ids": ids}}[case.kind]
    with spelled_as_published(case, path) as other, torch.no_grad():
        ours, theirs = load(case, path)(**inputs)[0], load(case, other)(**inputs)[0]
    assert torch.equal(ours, theirs), case.name


def make(case, out):
    with saved(case, out) as path:
        assert_published_is_equal(case, path)
        recording = {
            "case": case.name,
            "format": 1,
            "reference": {"transformers": transformers.__version__,
                          "torch": torch.__version__.partition("+")[0]},
            "about": case.about,
            "class": case.model_class,
            "weights": f"{case.weights or case.name}.safetensors",
            "config": json.loads((path / "config.json").read_text()),
            "published_config": case.published,
            **record(case, path),
        }
        if not case.weights:
            shutil.copyfile(path / "model.safetensors", out / f"{case.name}.safetensors")
    (out / f"{case.name}.json").write_text(text(recording) + "\n")
    print(case.name, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for case in CASES:  # those that lend their weights come first
        if arguments.only in case.name:
            make(case, arguments.out)
    if not arguments.only:
        folders.make(CASES, arguments.out)


if __name__ == "__main__":
    main()
