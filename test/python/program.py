"""The Python side of the tests of checkpoints.

usage:  python program.py write DIR     models of models.json with random weights, saved in every way, and what they compute
        python program.py read DIR      loads DIR/NAME.safetensors strictly, and writes what the models compute
        python program.py train DIR     trains a model with each optimizer, saves in the middle, and writes the losses
        python program.py resume DIR    goes on from DIR/run-NAME.safetensors and DIR/run-NAME.optimizer.pt, and writes the losses
"""
import json
import os
import sys

import torch
import x_transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))


def build(spec):
    kwargs = {key: build(value) if isinstance(value, dict) else value for key, value in spec["kwargs"].items()}
    return getattr(x_transformers, spec["class"])(**kwargs).eval()


def models():
    with open(os.path.join(HERE, "models.json")) as file:
        return {name: build(spec) for name, spec in json.load(file).items()}


def inputs(model):
    """The same numbers as in python.test.ts."""
    numbers = torch.arange(2 * 9) * 7 + 3
    if isinstance(model, x_transformers.ContinuousTransformerWrapper):
        return (torch.arange(2 * 9 * 5) % 11).float().reshape(2, 9, 5) / 11
    return (numbers % 37).reshape(2, 9)


@torch.no_grad()
def outputs(model):
    return {"shape": list(model(inputs(model)).shape), "data": model(inputs(model)).flatten().tolist()}


def half(model, dtype):
    """What it computes with its weights as `dtype` holds them."""
    state = model.state_dict()
    model.load_state_dict({name: value.to(dtype).float() for name, value in state.items()})
    return outputs(model)


def sharded(state, path, name):
    names = list(state)
    weight_map = {}
    for i in range(3):
        file = f"{name}-{i + 1:05}-of-00003.safetensors"
        part = {key: state[key].contiguous().clone() for key in names[i::3]}
        save_file(part, path(file))
        weight_map.update({key: file for key in part})
    for suffix, kind in ((".safetensors", "safetensors"), (".bin", "bin")):
        with open(path(f"{name}{suffix}.index.json"), "w") as file:
            json.dump({"metadata": {}, "weight_map": {k: v.replace("safetensors", kind) for k, v in weight_map.items()}}, file)
    for i in range(3):
        torch.save({key: state[key] for key in names[i::3]}, path(f"{name}-{i + 1:05}-of-00003.bin"))


def trained(model):
    """An optimizer with state, so that the file has more than the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(inputs(model)).pow(2).mean().backward()
    optimizer.step()
    return optimizer


def write(folder):
    path = lambda name: os.path.join(folder, name)
    results = {}
    torch.manual_seed(7)
    for name, model in models().items():
        optimizer = trained(model)
        state = model.state_dict()
        torch.save(state, path(f"{name}.pt"))
        torch.save(torch.nn.DataParallel(model).state_dict(), path(f"{name}.parallel.pt"))
        torch.save({"optimizer": optimizer.state_dict(), "model": state, "step": 1}, path(f"{name}.nested.pt"))
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path(f"{name}.safetensors"))
        sharded(state, path, name)
        results[name] = {"f32": outputs(model)}
        for kind, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
            narrow = {key: value.to(dtype).contiguous().clone() for key, value in state.items()}
            save_file(narrow, path(f"{name}.{kind}.safetensors"))
            torch.save(narrow, path(f"{name}.{kind}.pt"))
        results[name]["f16"] = half(build_like(model, state, name), torch.float16)
        results[name]["bf16"] = half(build_like(model, state, name), torch.bfloat16)
    done(path("written.json"), results)


def build_like(model, state, name):
    copy = models()[name]
    copy.load_state_dict(state)
    return copy


def read(folder):
    results = {}
    for name, model in models().items():
        model.load_state_dict(load_file(os.path.join(folder, f"{name}.safetensors")), strict=True)
        results[name] = {"f32": outputs(model)}
    wrapper = x_transformers.AutoregressiveWrapper(models()["wrapper"])
    wrapper.load_state_dict(load_file(os.path.join(folder, "autoregressive.safetensors")), strict=True)
    results["autoregressive"] = {"f32": outputs(wrapper.net)}
    done(os.path.join(folder, "read.json"), results)


OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 3e-3, "betas": (0.8, 0.95), "weight_decay": 0.01},
    "AdamW": {"lr": 3e-3, "weight_decay": 0.1},
    "Adafactor": {"lr": 1e-2, "weight_decay": 0.1},
}


def run(name, state):
    """A language model, its optimizer, and a step that gives the loss."""
    net = models()["wrapper"].train()
    if state is not None:
        net.load_state_dict(state, strict=True)
    model = x_transformers.AutoregressiveWrapper(net)
    optimizer = getattr(torch.optim, name)(net.parameters(), **OPTIMIZERS[name])

    def step():
        loss = model(inputs(model))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return net, optimizer, step


def train(folder):
    results = {}
    torch.manual_seed(8)
    for name in OPTIMIZERS:
        net, optimizer, step = run(name, None)
        for _ in range(2):
            loss = step()
        checkpoint = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "best_val_loss": torch.tensor(loss)}
        torch.save(checkpoint, os.path.join(folder, f"run-{name}.pt"))
        results[name] = [step() for _ in range(4)]
    done(os.path.join(folder, "trained.json"), results)


def resume(folder):
    results = {}
    for name in OPTIMIZERS:
        _, optimizer, step = run(name, load_file(os.path.join(folder, f"run-{name}.safetensors")))
        for group in optimizer.param_groups:
            group["lr"] = 100.0
        optimizer.load_state_dict(torch.load(os.path.join(folder, f"run-{name}.optimizer.pt"), weights_only=True))
        results[name] = [step() for _ in range(2)]
    done(os.path.join(folder, "resumed.json"), results)


def done(path, results):
    with open(path, "w") as file:
        json.dump({"torch": torch.__version__, "results": results}, file)


if __name__ == "__main__":
    {"write": write, "read": read, "train": train, "resume": resume}[sys.argv[1]](sys.argv[2])
