"""What PyTorch makes of whole numbers, truth values, NaN and nothing: writes pytorch.jsonl, one case a line.

    python record.py

A case has the name of an operation of ours, its tensors, its arguments, and the result, null where PyTorch raises.
"""

import json
import math
import pathlib

import torch

NAN, INF = math.nan, math.inf
TYPES = {
    "f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16,
    "i64": torch.int64, "u8": torch.uint8, "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}
WHOLE = {"bool": [True, False, True, True, True, False], "u8": [200, 3, 0, 255, 7, 200], "i64": [-4, 3, 0, 2**40, 7, -4]}
lines = []


def number(x):
    """JSON has no word for some, and JavaScript's numbers not enough digits."""
    if isinstance(x, float) and not math.isfinite(x):
        return str(x).replace("inf", "Infinity").replace("nan", "NaN")
    return str(x) if isinstance(x, int) and abs(x) >= 2**53 else x


def written(x):
    wide = x.double() if x.dtype.is_floating_point else x
    return {"dtype": NAMES[x.dtype], "shape": list(x.shape), "data": [number(v) for v in wide.flatten().tolist()]}


def case(op, args, run, *inputs):
    try:
        result = written(run(*inputs))
    except (RuntimeError, IndexError, NotImplementedError, TypeError):
        result = None
    lines.append({"op": op, "inputs": [written(x) for x in inputs], "args": args, "result": result})


def tensor(values, dtype, shape=None):
    x = torch.tensor(values, dtype=TYPES[dtype])
    return x if shape is None else x.reshape(shape)


def reductions(x):
    for keepdim in (False, True):
        for dim in ([], [0], [-1]):
            args = [*dim, {"keepdim": keepdim}] if dim else [None, {"keepdim": keepdim}]
            whole = tuple(dim) if dim else tuple(range(x.dim()))
            case("sum", args, lambda x: x.sum(whole, keepdim), x)
            case("mean", args, lambda x: x.mean(whole, keepdim), x)
            case("max", args, lambda x: x.amax(whole, keepdim), x)
            case("min", args, lambda x: x.amin(whole, keepdim), x)
    for dim in (0, -1):
        case("argmax", [dim], lambda x: x.argmax(dim), x)


BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.true_divide, "pow": torch.pow,
    "maximum": torch.maximum, "minimum": torch.minimum,
    "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
}
UNARY = {
    "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "relu": torch.relu, "logicalNot": torch.logical_not,
    "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu,
}

for dtype, values in WHOLE.items():
    x = tensor(values, dtype, (2, 3))
    reductions(x)
    case("sum", [], torch.sum, torch.zeros(0, dtype=TYPES[dtype]))
    y = tensor(values[3:] + values[:3], dtype, (2, 3))
    for op, run in BINARY.items():
        if op == "pow" and dtype == "i64":
            case(op, [], run, x, tensor([0, 1, 5, 2, 40, 63], dtype, (2, 3)))
            case(op, [], run, x, tensor([0, 1, 5, 2, -1, 3], dtype, (2, 3)))
        else:
            case(op, [], run, x, y)
        for value in (0, 1, 2, 3):
            if op not in ("maximum", "minimum"):
                case(op, [value], lambda x: run(x, value), x)
        if op in ("div", "eq", "ne", "lt", "le", "gt", "ge"):
            for value in (2.5, -0.5, NAN, INF, -INF):
                case(op, [number(value)], lambda x: run(x, value), x)
    for op in ("neg", "abs", "logicalNot"):
        case(op, [], UNARY[op], x)
    for to in TYPES:
        case("cast", [to], lambda x: x.to(TYPES[to]), x)
    case("where", [], torch.where, tensor(WHOLE["bool"], "bool", (2, 3)), x, y)
    case("gather", [1], lambda x, i: x.gather(1, i), x, tensor([2, 0], "i64", (2, 1)))
case("cast", ["u8"], lambda x: x.to(torch.uint8), tensor([300, -1, 256, 2**40 + 5], "i64"))
case("div", [], torch.true_divide, tensor([1, 3], "i64"), tensor([2, 0], "u8"))
case("div", [], torch.true_divide, tensor([1, 3], "i64"), tensor([2.0, 0.5], "f64"))
case("div", [], torch.true_divide, tensor([1.0, 3.0], "f32"), tensor([2, 0], "i64"))
case("sum", [], torch.sum, tensor([2**62, 2**62, 2**62], "i64"))
case("sum", [], torch.sum, tensor([2**53, 1], "i64"))

for dtype in ("f32", "f64", "f16", "bf16"):
    start = [0.5, -2.0, 3.0, 1.5, -0.25, 3.0]
    for at in (None, 0, 4) if dtype == "f32" else (4,):
        values = [NAN if i == at else v for i, v in enumerate(start)]
        x, y = tensor(values, dtype, (2, 3)), tensor(start[::-1], dtype, (2, 3))
        reductions(x)
        for op, run in BINARY.items():
            case(op, [], run, x, y)
            case(op, [], run, y, x)
        for dim in (0, 1):
            case("softmax", [dim], lambda x: x.softmax(dim), x)
            case("logSoftmax", [dim], lambda x: x.log_softmax(dim), x)
    x = tensor([NAN, INF, -INF, -0.5, 0.0, 2.0], dtype, (2, 3))
    reductions(x)
    for op, run in UNARY.items():
        case(op, [], run, x)
    for value in (NAN, INF, -INF, 0.5):
        for op in ("eq", "ne", "lt", "le", "gt", "ge", "add", "mul", "div"):
            case(op, [number(value)], lambda x: BINARY[op](x, value), x)
    case("cast", ["bool"], lambda x: x.bool(), x)
    whole = tensor([300.0, -1.0, -1.75, 1.5, 0.0, 255.5], dtype)
    case("cast", ["i64"], lambda x: x.long(), whole)
    case("cast", ["u8"], lambda x: x.byte(), whole)
    lowest = tensor([-INF, -INF], dtype)
    case("softmax", [0], lambda x: x.softmax(0), lowest)
    case("logSoftmax", [0], lambda x: x.log_softmax(0), lowest)
    for shape in ((2, 0), (0, 2), (0,)):
        empty = torch.zeros(shape, dtype=TYPES[dtype])
        for op in ("sum", "mean", "max", "min"):
            for dim in range(len(shape)):
                run = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[op]
                case(op, [dim], lambda x: run(x, dim), empty)
        for dim in range(len(shape)):
            case("argmax", [dim], lambda x: x.argmax(dim), empty)
            case("softmax", [dim], lambda x: x.softmax(dim), empty)
            case("logSoftmax", [dim], lambda x: x.log_softmax(dim), empty)
    logits = tensor([1.0, 2.0, 0.5, NAN, 1.0, 0.0], dtype, (2, 3))
    for targets in ([-100, -100], [1, -100], [-100, 1], [0, 0]):
        case("crossEntropy", [], torch.nn.functional.cross_entropy, logits, tensor(targets, "i64"))

path = pathlib.Path(__file__).with_name("pytorch.jsonl")
path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
print(len(lines), path.stat().st_size)
