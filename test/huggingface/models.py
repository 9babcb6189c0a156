"""Models of the cases: their weights, and how they come from files as a user's do."""
import copy
import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file


def seed_of(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)


def randomize(model, generator):
    """Seeded values everywhere, large enough that a transposed or exchanged weight shows."""
    for name, parameter in sorted(model.named_parameters()):
        owner = type(model.get_submodule(name.rpartition(".")[0])).__name__
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            # where the embedding has a factor it must not outweigh the layers
            value = (0.1 if "ScaledWordEmbedding" in owner else 0.3) * noise
        elif "Norm" in owner and name.endswith("weight"):
            # Gemma's norms multiply by 1 + weight
            value = 0.1 * noise + (0 if owner.startswith("Gemma") else 1)
        else:
            value = 0.1 * noise
        with torch.no_grad():
            parameter.copy_(value)


def new_model(case):
    """The model of `case` with weights that its name determines."""
    config = getattr(transformers, case.config_class)(**copy.deepcopy(case.config))
    model = getattr(transformers, case.model_class)(config)
    if case.kind == "seq2seq" and case.config.get("tie_word_embeddings") is False:
        # the constructor ties the head whatever the configuration says; loading does not
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    randomize(model, torch.Generator().manual_seed(seed_of(case.name)))
    return model


@contextmanager
def saved(case, folder):
    """A folder with config.json and model.safetensors, as `save_pretrained` writes them. A case
    with the weights of another one takes them from its file in `folder`."""
    with tempfile.TemporaryDirectory() as path:
        path = Path(path)
        new_model(case).save_pretrained(path)
        if case.weights:
            shutil.copy(folder / f"{case.weights}.safetensors", path / "model.safetensors")
        yield path


def load(case, path):
    """A fresh model: rotary embeddings that depend on the length keep state between calls."""
    model_class = getattr(transformers, case.model_class)
    model = model_class.from_pretrained(path, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


@contextmanager
def spelled_as_published(case, path):
    """The same folder with the configuration in the words of the published files."""
    with tempfile.TemporaryDirectory() as other:
        other = Path(other)
        shutil.copy(path / "model.safetensors", other)
        (other / "config.json").write_text(json.dumps(case.published))
        yield other


def file_names(model, path):
    """Parameter name -> name in the file, which differs for ViT: found by the values."""
    tensors = load_file(path / "model.safetensors")
    names = {}
    for name, parameter in model.named_parameters():
        found = [key for key, value in tensors.items() if torch.equal(value, parameter)]
        assert len(found) == 1, (name, found)
        names[name] = found[0]
    return names
