"""Weights in PyTorch's format from before version 1.6, as safetensors; without PyTorch.

usage:  python legacy.py pytorch_model.bin model.safetensors

Such a file is a row of pickles (a magic number, a version, the writer's platform, the tensors, the
names of their storages), then each storage: its number of entries in eight bytes, and the entries.
"""
import json
import pickle
import struct
import sys
from collections import OrderedDict

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"FloatStorage": ("F32", 4), "LongStorage": ("I64", 8)}


def tensor(storage, offset, shape, stride, *_):
    steps = [1]
    for size in reversed(shape[1:]):
        steps.append(steps[-1] * size)
    assert tuple(stride) == tuple(reversed(steps[:len(shape)])), "a tensor is not contiguous"
    return storage, offset, shape


class Reader(pickle.Unpickler):
    """Reads what a file of weights has, and nothing that runs other code."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return tensor
        if module == "torch" and name in KINDS:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")

    def persistent_load(self, pid):
        _, kind, key, _, _, view = pid
        assert view is None
        return kind, key


def read(path):
    """The tensors by name: (dtype, shape, bytes)."""
    with open(path, "rb") as file:
        magic, _, _, tensors, keys = (Reader(file).load() for _ in range(5))
        assert magic == MAGIC, magic
        kinds = dict((key, kind) for (kind, key), _, _ in tensors.values())
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            storages[key] = file.read(count * KINDS[kinds[key]][1])
        assert not file.read(1), "the file goes on"
    found = {}
    for name, ((kind, key), offset, shape) in tensors.items():
        dtype, size = KINDS[kind]
        count = 1
        for length in shape:
            count *= length
        found[name] = dtype, shape, storages[key][offset * size:(offset + count) * size]
        assert len(found[name][2]) == count * size, f"{name} is cut off"
    return found


def write(tensors, path):
    header, end = {}, 0
    for name, (dtype, shape, content) in tensors.items():
        places = [end, end + len(content)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": places}
        end = places[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, content in tensors.values():
            file.write(content)


if __name__ == "__main__":
    write(read(sys.argv[1]), sys.argv[2])
