"""Checkpoints of runs in PyTorch, and how the runs went on, for the tests of going on with them.

usage:  python training.py [--out DIR] [--only NAME ..]

needs:  torch 2.9 or newer (CPU is enough), einops, x-transformers==1.9.2; only torch with --only, which records these
        optimizers and leaves all else as it is

See README.md for what each file is.
"""
import argparse
import copy
import inspect
import json
import os

import torch
from torch.optim import SGD, Adafactor, Adam, AdamW, Muon, RAdam, _muon

SHAPES = [(3, 4), (3,), (2, 3), (2,)]
MATRICES = [(3, 4), (7, 3), (5, 5), (2, 6)]
BEFORE, AFTER = 3, 3


def fill(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(step, shapes):
    return [fill(shape, 100 * step + i) for i, shape in enumerate(shapes)]


def exact(function):
    """PyTorch's own Newton-Schulz iteration, but for the rounding to bf16."""
    source = inspect.getsource(function)
    assert source.count("torch.bfloat16") == 1
    scope = dict(vars(_muon))
    exec(source.replace("torch.bfloat16", "grad.dtype"), scope)
    return scope[function.__name__]


NEWTON_SCHULZ = _muon._zeropower_via_newtonschulz


def settings(group):
    return {name: value for name, value in group.items() if name != "params"}


# class, groups of [places, settings], places without a gradient, shapes where they are others
CASES = {
    "sgd": (SGD, [([0, 1, 2, 3], {"lr": 0.1})], []),
    "momentum": (SGD, [([0, 1, 2, 3], {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.05})], []),
    "nesterov": (SGD, [([3, 2, 1, 0], {"lr": 0.1, "momentum": 0.8, "nesterov": True})], [1]),
    "adam": (Adam, [([0, 1, 2, 3], {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2})], []),
    "muon": (Muon, [([0, 1], {"lr": 0.1, "adjust_lr_fn": "original"}), ([2, 3], {"lr": 0.05, "weight_decay": 0.5, "momentum": 0.6, "nesterov": False, "ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 3, "eps": 0.1, "adjust_lr_fn": "match_rms_adamw"})], [], MATRICES),
    "muon-bf16": (Muon, [([0, 1, 2, 3], {"lr": 0.1})], [2], MATRICES),
    "adafactor": (Adafactor, [([0, 1], {}), ([2, 3, 4], {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 0.7, "weight_decay": 0.1})], [1], [*SHAPES, (2, 3, 4)]),
    "adamw": (AdamW, [([0, 2], {"lr": 0.1, "weight_decay": 0.5}), ([1, 3], {"lr": 0.05, "weight_decay": 0.0})], [3]),
}


def step(parameters, optimizer, number, without):
    shapes = [parameter.shape for parameter in parameters]
    for i, (parameter, gradient) in enumerate(zip(parameters, gradients(number, shapes))):
        parameter.grad = None if i in without else gradient.clone()
    optimizer.step()


def lists(tensors):
    return [tensor.detach().flatten().tolist() for tensor in tensors]


def run(name, path):
    kind, groups, without, shapes = (*CASES[name], SHAPES)[:4]
    _muon._zeropower_via_newtonschulz = NEWTON_SCHULZ if name.endswith("bf16") else exact(NEWTON_SCHULZ)
    parameters = [torch.nn.Parameter(fill(shape, i)) for i, shape in enumerate(shapes)]
    optimizer = kind([{"params": [parameters[i] for i in places], **own} for places, own in groups])
    for number in range(BEFORE):
        step(parameters, optimizer, number, without)
    torch.save(optimizer.state_dict(), path(f"optimizer-{name}.pt"))
    row = {"class": kind.__name__, "shapes": shapes, "groups": [places for places, _ in groups], "without": without}
    row["settings"] = [settings(group) for group in optimizer.param_groups]
    row["start"] = lists(parameters)
    row["steps"] = []
    for number in range(BEFORE, BEFORE + AFTER):
        step(parameters, optimizer, number, without)
        row["steps"].append({"gradients": lists(gradients(number, shapes)), "weights": lists(parameters)})
    return row


def variants(path):
    """The state of `adam` as other versions and programs of PyTorch write it, and states that do not fit."""
    state = torch.load(path("optimizer-adam.pt"), weights_only=True)
    numbers = copy.deepcopy(state)
    for own in numbers["state"].values():
        own["step"] = int(own["step"])
    group = numbers["param_groups"][0]
    group.update(lr=torch.tensor(group["lr"], dtype=torch.float64), initial_lr=0.1, name="all", params=[9, 7, 5, 3])
    group["betas"] = tuple(torch.tensor(beta, dtype=torch.float64) for beta in group["betas"])
    numbers["state"] = {(9, 7, 5, 3)[i]: own for i, own in numbers["state"].items()}
    del group["decoupled_weight_decay"]
    torch.save({"epoch": 1, "optimizer_states": [numbers], "state_dict": {}}, path("optimizer-numbers.pt"))
    torch.save({"a": state, "b": {"inner": state}, "c": copy.deepcopy(state)}, path("optimizers.pt"))
    parameter = torch.nn.Parameter(torch.ones(2))
    for name, optimizer in {
        "amsgrad": Adam([parameter], amsgrad=True),
        "maximize": SGD([parameter], maximize=True, momentum=0.9),
        "other": RAdam([parameter]),
    }.items():
        parameter.grad = torch.ones(2)
        optimizer.step()
        torch.save(optimizer.state_dict(), path(f"optimizer-{name}.pt"))
    by_name = {"state": {"weight": {"step": torch.tensor(1.0)}}, "param_groups": [{"params": ["weight"]}]}
    torch.save(by_name, path("optimizer-names.pt"))


OPTIONS = {"num_tokens": 11, "max_seq_len": 16}
LAYERS = {"dim": 8, "depth": 1, "heads": 2, "attn_dim_head": 4, "ff_mult": 1}
TOKENS = (torch.arange(4 * 9).reshape(4, 9) * 7 + torch.arange(4).reshape(4, 1)) % 11


def language_model(path):
    """A checkpoint as nanoGPT writes it, and how its run goes on."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    torch.manual_seed(3)
    model = AutoregressiveWrapper(TransformerWrapper(**OPTIONS, attn_layers=Decoder(**LAYERS)))
    parameters = list(model.net.parameters())
    matrices, vectors = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=1e-2, betas=(0.9, 0.95))

    def train():
        loss = model(TOKENS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [train() for _ in range(3)]
    checkpoint = {
        "model": model.net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "model_args": {**OPTIONS, "bias": False},
        "iter_num": 3,
        "best_val_loss": torch.tensor(losses[-1]),
        "config": {"out_dir": "out", "decay_lr": True, "device": "cpu"},
    }
    torch.save(checkpoint, path("nanogpt.pt"))
    row = {"options": OPTIONS, "layers": LAYERS, "tokens": TOKENS.tolist(), "before": losses}
    row["losses"] = [train() for _ in range(5)]
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--only", nargs="+", choices=CASES)
    given = parser.parse_args()
    path = lambda name: os.path.join(given.out, name)
    if given.only:
        with open(path("training.json")) as file:
            recorded = json.load(file)
        recorded["optimizers"].update({name: run(name, path) for name in given.only})
        with open(path("training.json"), "w") as file:
            file.write(json.dumps(recorded) + "\n")
        return
    rows = {name: run(name, path) for name in CASES}
    variants(path)
    with open(path("training.json"), "w") as file:
        file.write(json.dumps({"optimizers": rows, "nanogpt": language_model(path)}) + "\n")


if __name__ == "__main__":
    main()
