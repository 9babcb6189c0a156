"""The contender of generate.mjs: the newest Python package x-transformers, whose generation keeps keys and values.

Each line of the input is a number of rows; each line of the output tells how many seconds their generation took. The first
line of the output says what runs here.
"""
import json
import sys
import time
from importlib.metadata import version

import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper


def main():
    o = json.loads(sys.argv[1])
    layers = Decoder(dim=o['dim'], depth=o['depth'], heads=o['heads'], attn_flash=True)
    net = TransformerWrapper(num_tokens=o['num_tokens'], max_seq_len=o['max_seq_len'], attn_layers=layers)
    model = AutoregressiveWrapper(net).eval()
    tell(torch=torch.__version__, x_transformers=version('x-transformers'), threads=torch.get_num_threads())
    for line in sys.stdin:
        rows, tokens = json.loads(line)
        prompt = torch.randint(0, o['num_tokens'], (rows, o['prompt']))
        start = time.perf_counter()
        out = model.generate(prompt, tokens, cache_kv=True)
        seconds = time.perf_counter() - start
        assert tuple(out.shape) == (rows, tokens), out.shape
        tell(seconds=seconds)


def tell(**values):
    print(json.dumps(values), flush=True)


if __name__ == '__main__':
    main()
