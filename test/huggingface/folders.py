"""Folders as they are published: weights in several files, and in PyTorch's own format."""
import json
import shutil

import torch
from safetensors.torch import load_file

from models import load, saved

SHARDED = "smollm-2"
PICKLED = "gpt-2"
SHARD_SIZE = "30KB"
IDS = torch.arange(3, 12)[None, :]


def write_config(case, folder):
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(case.published, indent=2) + "\n")


def make_sharded(case, out):
    """The weights of `case` in three files with an index."""
    folder = out / "sharded"
    with saved(case, out) as path:
        model = load(case, path)
        model.generation_config.eos_token_id = [2, 5]
        model.save_pretrained(folder, max_shard_size=SHARD_SIZE)
    assert len(list(folder.glob("model-*.safetensors"))) == 3


def make_pickled(case, out):
    """pytorch_model.bin as the oldest files of GPT-2: no prefix, the causal mask as a buffer."""
    folder = out / "pickled"
    write_config(case, folder)
    tensors = load_file(out / f"{case.name}.safetensors")
    state = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    size = case.config["n_positions"]
    for layer in range(case.config["n_layer"]):
        mask = torch.ones(size, size, dtype=torch.uint8).tril()
        state[f"h.{layer}.attn.bias"] = mask.reshape(1, 1, size, size)
    torch.save(state, folder / "pytorch_model.bin")


def make(cases, out):
    by_name = {case.name: case for case in cases}
    for name, folder, write in ((SHARDED, "sharded", make_sharded),
                                (PICKLED, "pickled", make_pickled)):
        case = by_name[name]
        write(case, out)
        with saved(case, out) as path, torch.no_grad():
            expected = load(case, path)(input_ids=IDS).logits
            assert torch.equal(load(case, out / folder)(input_ids=IDS).logits, expected)
        print(folder, flush=True)
