"""Records what PyTorch computes with its operations and layers, for test/api/operations.test.ts:

    pip install torch==2.15.0 numpy einops x-transformers==1.9.2
    python test/python/operations.py > test/python/operations.json

A case names a method of our tensors, or a class, with its arguments; `"$0"` is the first input. The
gradients are those of the sum of all outputs, each multiplied by its index modulo 7, less 2.
"""

import json
import sys
from pathlib import Path

# this script has the name of a module
sys.path = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import torch
from torch import nn
from x_transformers.x_transformers import FeedForward

NAN, INF = float("nan"), float("inf")
CASES = []


def number(x):
    """A number as JSON has it, with the digits that f32 always holds."""
    if isinstance(x, (bool, int)):
        return x
    if abs(x) < INF:
        return float(f"{x:.7g}")
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(x)]


def written(x):
    kinds = {torch.float32: "f32", torch.int64: "i64", torch.bool: "bool", torch.uint8: "u8"}
    return {
        "shape": list(x.shape),
        "dtype": kinds[x.dtype],
        "values": [number(v) for v in x.detach().flatten().tolist()],
    }


def total(outputs):
    """One number that depends on each element of the outputs in its own way."""
    sums = []
    for y in outputs:
        if y.requires_grad:
            weights = torch.arange(y.numel()).remainder(7).sub(2).to(y.dtype).reshape(y.shape)
            sums.append((y * weights).sum())
    return sum(sums)


def outputs_of(y):
    return list(y) if isinstance(y, (tuple, list)) else [y]


def case(method, args, run, *inputs, grad=True):
    """`method(...args)` of the first input here; `run` in PyTorch."""
    inputs = [torch.as_tensor(x) for x in inputs]
    floats = [x.clone().requires_grad_(grad and x.is_floating_point()) for x in inputs]
    outputs = outputs_of(run(*floats))
    one = {"method": method, "args": args, "inputs": [written(x) for x in inputs],
           "outputs": [written(y) for y in outputs]}
    if any(y.requires_grad for y in outputs):
        total(outputs).backward()
        one["gradients"] = [None if x.grad is None else written(x.grad) for x in floats]
    CASES.append(one)


def layer(name, options, module, *inputs):
    """`new name(options)` here, with the weights of `module`."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    y = module(*inputs)
    module.zero_grad()
    total([y]).backward()
    CASES.append({
        "class": name,
        "options": options,
        "state": {key: written(value) for key, value in module.state_dict().items()},
        "inputs": [written(x) for x in inputs],
        "outputs": [written(y)],
        "gradients": [None if x.grad is None else written(x.grad) for x in inputs],
        "weights": {key: written(value.grad) for key, value in module.named_parameters()},
    })


def normal(*shape):
    return torch.randn(shape).mul(100).round().div(50)


def functions():
    x, halves = normal(2, 3), torch.tensor([-2.5, -1.5, -0.5, -0.2, 0.0, 0.5, 1.5, 2.5, 2.6])
    edge = torch.tensor([-1.0, -INF, INF, NAN, 0.0, 1.0, 0.5])
    whole = torch.tensor([[3, -2], [0, 7]])
    for name in ["sin", "cos", "square", "sign"]:
        case(name, [], getattr(torch, name), x)
    for name in ["sin", "cos", "square", "sign", "reciprocal", "rsqrt"]:
        case(name, [], getattr(torch, name), edge)
    case("reciprocal", [], torch.reciprocal, x + 5)
    case("rsqrt", [], torch.rsqrt, x.abs() + 0.5)
    for name in ["square", "sign", "reciprocal"]:
        case(name, [], getattr(torch, name), whole)
    for name in ["round", "floor", "ceil"]:
        case(name, [], getattr(torch, name), halves)
        case(name, [], getattr(torch, name), edge)
        case(name, [], getattr(torch, name), whole)
    for name in ["isnan", "isinf", "isfinite"]:
        case(name, [], getattr(torch, name), edge)
        case(name, [], getattr(torch, name), whole)
    case("clone", [], torch.clone, x)
    for args in [{"min": -1, "max": 1}, {"min": 0.25}, {"max": -0.5}, {"min": 1, "max": -1}]:
        case("clamp", [args], lambda x, args=args: x.clamp(**args), x)
        case("clamp", [args], lambda x, args=args: x.clamp(**args), edge)
    case("clamp", [{"min": 0, "max": 4}], lambda x: x.clamp(0, 4), whole)


def reductions():
    x, y = normal(2, 3, 4), torch.tensor([[1.0, 1.0, 1.0], [0.0, -3.0, 4.0], [0.0, 0.0, 0.0]])
    nan = torch.tensor([[1.0, NAN, -2.0], [INF, 2.0, -INF]])
    whole = torch.tensor([[3, -2, 0], [1, 7, 2]])
    flags = whole.bool()
    for name in ["std", "var"]:
        run = getattr(torch, name)
        case(name, [], run, x)
        case(name, [1], lambda x: run(x, 1), x)
        case(name, [[0, -1], {"correction": 0, "keepdim": True}],
             lambda x: run(x, (0, -1), correction=0, keepdim=True), x)
        case(name, [-1, {"correction": 2}], lambda x: run(x, -1, correction=2), y)
        case(name, [-1], lambda x: run(x, -1), y)
        case(name, [-1], lambda x: run(x, -1), nan)
        case(name, [1], lambda x: run(x, 1), normal(3, 1))
        case(name, [1, {"correction": 0}], lambda x: run(x, 1, correction=0), normal(3, 1))
    for p in [2, 1, 3, 0.5, 0, 1.5, -1, INF, -INF]:
        vector = torch.linalg.vector_norm
        args = {"p": number(float(p))} if abs(p) == INF else {"p": p}
        case("norm", [-1, args], lambda x: vector(x, p, -1), x)
        if p >= 0:
            case("norm", [1, {**args, "keepdim": True}], lambda x: vector(x, p, 1, True), y)
    case("norm", [], torch.linalg.vector_norm, x)
    case("norm", [-1], lambda x: torch.linalg.vector_norm(x, 2, -1), nan)
    for name in ["any", "all"]:
        run = getattr(torch, name)
        for z in [x, y, nan, whole, flags, torch.zeros(2, 0)]:
            case(name, [], run, z, grad=False)
            case(name, [1, {"keepdim": True}], lambda z: run(z, 1, keepdim=True), z, grad=False)
    for z in [x, y, nan, whole, flags]:
        # PyTorch divides the product by each element for its gradient, which NaN does not survive
        case("prod", [1], lambda z: z.prod(1), z, grad=z is not nan)
        case("prod", [], torch.prod, z, grad=z is not nan)
    for name in ["argmin", "argmax"]:
        run = getattr(torch, name)
        for z in [x, y, nan, whole]:
            case(name, [-1], lambda z: run(z, -1), z, grad=False)
            case(name, [0, {"keepdim": True}], lambda z: run(z, 0, keepdim=True), z, grad=False)
    for z in [x, nan, whole, flags, torch.zeros(2, 0)]:
        case("cumsum", [0], lambda z: z.cumsum(0), z)
        case("cumsum", [-1], lambda z: z.cumsum(-1), z)


def orders():
    x, whole = normal(3, 5), torch.tensor([[3, -2, 7, 3], [1, 7, 2, 1]])
    ties = torch.tensor([[1.0, 2.0, 1.0, NAN, 0.0, -0.0, 2.0, -INF, INF, NAN]])
    for z in [x, ties, whole]:
        for descending in [False, True]:
            args = {"descending": descending}
            for dim in [-1, 0]:
                case("sort", [dim, args], lambda z: z.sort(dim=dim, stable=True, **args), z)
            case("argsort", [-1, args], lambda z: z.argsort(dim=-1, stable=True, **args), z)
    case("sort", [], torch.sort, x)
    case("topk", [2], lambda x: x.topk(2), x)
    case("topk", [2, 0], lambda x: x.topk(2, 0), x)
    case("topk", [3, -1, {"largest": False}], lambda x: x.topk(3, -1, False), x)
    case("topk", [2], lambda x: x.topk(2), torch.tensor([[1.0, NAN, 3.0, 2.0]]))
    case("topk", [0], lambda x: x.topk(0), x)


def shapes():
    x, one, flags = normal(2, 3, 4), normal(1, 3, 1), torch.tensor([[True, False, True]])
    for dim in [0, 1, 3, -1, -4]:
        case("unsqueeze", [dim], lambda x: x.unsqueeze(dim), x)
    for args in [[], [0], [1], [-1]]:
        case("squeeze", args, lambda x: x.squeeze(*args), one)
    for dims in [[0, 1], [0, -1]]:
        case("squeeze", [dims], lambda x: x.squeeze(tuple(dims)), one)
    for args in [[], [1], [0, 1], [-2], [1, 1]]:
        case("flatten", args, lambda x: x.flatten(*args), x)
    case("flatten", [], torch.flatten, torch.tensor(3.0))
    for shape in [[2, 3, 4], [-1, -1, 2], [5, 1, 3, 1], [2, 1, -1, 2]]:
        case("expand", [shape], lambda x: x.expand(shape), one)
    case("expand", [[2, 3]], lambda x: x.expand(2, 3), flags, grad=False)
    for counts in [[1, 1, 1], [2, 1, 3], [2, 1, 1, 2], [0, 1, 1]]:
        case("repeat", [counts], lambda x: x.repeat(counts), x)
    case("repeat", [[2, 2]], lambda x: x.repeat(2, 2), flags, grad=False)
    for args in [[2], [2, 1], [[1, 2], 1], [[1, 0, 3], -1], [5]]:
        case("split", args, lambda x: x.split(*args), x)
    for args in [[2], [2, 1], [3, -1], [9, 1]]:
        case("chunk", args, lambda x: x.chunk(*args), x)
    for args in [[], [1], [-1]]:
        case("unbind", args, lambda x: x.unbind(*args), x)
    case("select", [1, -1], lambda x: x.select(1, -1), x)
    case("select", [0, 1], lambda x: x.select(0, 1), x)
    case("narrow", [1, 1, 2], lambda x: x.narrow(1, 1, 2), x)
    case("narrow", [2, -3, 2], lambda x: x.narrow(2, -3, 2), x)
    for dims in [[0], [1, 2], [-1], [0, 1, 2]]:
        case("flip", [dims], lambda x: x.flip(dims), x)
    for name in ["tril", "triu"]:
        for args in [[], [1], [-1], [9], [-9]]:
            case(name, args, lambda x: getattr(torch, name)(x, *args), x)
        case(name, [], getattr(torch, name), torch.ones(3, 3, dtype=torch.bool), grad=False)


def pairs():
    x, v, w = normal(2, 3, 4), normal(4), normal(4)
    case("matmul", ["$1"], torch.matmul, v, w)
    case("matmul", ["$1"], torch.matmul, x, v)
    case("matmul", ["$1"], torch.matmul, normal(3), x)
    case("matmul", ["$1"], torch.matmul, normal(3, 4), v)
    case("matmul", ["$1"], torch.matmul, v, normal(4, 2))
    case("outer", ["$1"], torch.outer, v, normal(3))
    mask = torch.tensor([[True], [False], [True]])
    case("maskedFill", ["$1", -7.5], lambda x, m: x.masked_fill(m, -7.5), x, mask)
    case("maskedFill", ["$1", "-Infinity"], lambda x, m: x.masked_fill(m, -INF), x, mask)
    some = normal(2, 4) > 0
    case("maskedFill", ["$1", 3], lambda x, m: x.masked_fill(m, 3), torch.arange(4), some)
    case("where", ["$1", "$2"], torch.where, mask, x, normal(3, 1))


def layers():
    x, ids = normal(2, 3, 4), torch.tensor([[1, 0, 4], [2, 2, 1]])
    layer("Linear", {"in_features": 4, "out_features": 3}, nn.Linear(4, 3), x)
    plain = {"in_features": 4, "out_features": 2, "bias": False}
    layer("Linear", plain, nn.Linear(4, 2, bias=False), x[0])
    sizes = {"num_embeddings": 5, "embedding_dim": 3}
    layer("Embedding", sizes, nn.Embedding(5, 3), ids)
    for padding in [1, -3]:
        table = nn.Embedding(5, 3, padding_idx=padding)
        # what was loaded stays, and gets no gradient
        table.load_state_dict({"weight": torch.randn(5, 3)})
        layer("Embedding", {**sizes, "padding_idx": padding}, table, ids)
    for options in [{}, {"eps": 0.1}, {"bias": False}, {"elementwise_affine": False}]:
        for shape in [4, [3, 4]]:
            norm = nn.LayerNorm(shape, **options)
            randomised(norm)
            layer("LayerNorm", {"normalized_shape": shape, **options}, norm, x)
    for options in [{}, {"eps": 0.1}, {"elementwise_affine": False}]:
        for shape in [4, [3, 4]]:
            norm = nn.RMSNorm(shape, **options)
            randomised(norm)
            layer("RMSNorm", {"normalized_shape": shape, **options}, norm, x)
            layer("RMSNorm", {"normalized_shape": shape, **options}, norm, x * 1e-3)
    layer("Dropout", {"p": 0.5}, nn.Dropout(0.5).eval(), x)
    swiglu = {"glu": True, "swish": True, "no_bias": True, "mult": 1.5}
    flags = ["glu", "swish", "relu_squared", "post_act_ln", "no_bias"]
    for options in [{}, {"mult": 2}, {"dim_out": 3}, swiglu, *[{flag: True} for flag in flags]]:
        layer("FeedForward", {"dim": 4, **options}, FeedForward(4, **options), x)
    layer("FeedForward", {"dim": 4, "dropout": 0.3}, FeedForward(4, dropout=0.3).eval(), x)


def randomised(module):
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)


torch.manual_seed(0)
for record in [functions, reductions, orders, shapes, pairs, layers]:
    record()
lines = ",\n".join(json.dumps(one, separators=(",", ":"), allow_nan=False) for one in CASES)
print(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}')
