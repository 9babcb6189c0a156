"""The Python contenders of run.mjs: x-transformers 1.9.2, or the newest version with fused attention, on PyTorch.

usage: python workloads.py NAME [flash]

The first line of the output says what runs here. Then each line of the input is a number of runs, and each line of the output how many
seconds every one of them took, and the peak of this process's memory so far, in bytes. workloads.mjs has the same work for this
package; sizes and options must stay equal.
"""
import inspect
import json
import resource
import sys
import time
from importlib.metadata import version

import torch
from x_transformers import (AutoregressiveWrapper, Decoder, Encoder, TransformerWrapper, ViTransformerWrapper,
                            XTransformer)

FLASH = {}


def ids(count, *shape):
    return torch.randint(0, count, shape)


def lm(num_tokens=20000, max_seq_len=1025, dim=512, depth=12, heads=8, wrapper={}, **options):
    layers = Decoder(dim=dim, depth=depth, heads=heads, **FLASH, **options)
    return TransformerWrapper(num_tokens=num_tokens, max_seq_len=max_seq_len, attn_layers=layers, **wrapper)


def forward(model, *inputs):
    model.eval()

    def run():
        with torch.no_grad():
            model(*inputs)
    return run


def trainer(model, *inputs, **options):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

    def run():
        model(*inputs, **options).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    return run


def language(**options):
    return AutoregressiveWrapper(lm(**options))


def palm():
    return language(depth=6, rotary_pos_emb=True, ff_glu=True, ff_swish=True, ff_no_bias=True, attn_one_kv_head=True,
                    use_rmsnorm=True)


def encdec():
    flash = {f'{side}_{name}': value for side in ('enc', 'dec') for name, value in FLASH.items()}
    sides = {f'{side}_{name}': value for side in ('enc', 'dec')
             for name, value in dict(num_tokens=256, depth=6, heads=8, max_seq_len=1024).items()}
    model = XTransformer(dim=512, tie_token_emb=True, **sides, **flash)
    return trainer(model, ids(256, 1, 1024), ids(256, 1, 1024), mask=torch.ones(1, 1024).bool())


def vit():
    layers = Encoder(dim=512, depth=6, heads=8, **FLASH)
    model = ViTransformerWrapper(image_size=256, patch_size=32, num_classes=1000, attn_layers=layers)
    return forward(model, torch.randn(8, 3, 256, 256))


def generate():
    model = language().eval()
    prompt = ids(20000, 1, 32)
    cached = dict(cache_kv=True) if 'cache_kv' in inspect.signature(model.generate).parameters else {}
    return lambda: model.generate(prompt, 128, **cached)


def chars():
    return ids(256, 8, 257)


CHAR = dict(num_tokens=256, max_seq_len=257, dim=256, depth=6, rotary_pos_emb=True)
TINY = dict(num_tokens=256, max_seq_len=65, dim=64, depth=4, heads=4)

WORKLOADS = dict(
    gpt_forward=lambda: forward(lm(), ids(20000, 1, 1024)),
    gpt_train_step=lambda: trainer(language(), ids(20000, 1, 1025)),
    palm_train_step=lambda: trainer(palm(), ids(20000, 1, 1025)),
    char_train_step=lambda: trainer(language(**CHAR), chars()),
    tiny_train_step=lambda: trainer(language(**TINY), ids(256, 4, 65)),
    encdec_train_step=encdec,
    vit_forward=vit,
    t5bias_forward=lambda: forward(lm(depth=6, rel_pos_bias=True), ids(20000, 1, 1024)),
    long_forward=lambda: forward(lm(num_tokens=256, max_seq_len=4096, dim=256, depth=2), ids(256, 1, 4096)),
    generate_128=generate,
    start=lambda: forward(lm(**TINY), ids(256, 1, 64)),
)


def tell(value):
    print(json.dumps(value), flush=True)


def serve(run):
    tell(dict(torch=torch.__version__, x_transformers=version('x-transformers'), threads=torch.get_num_threads()))
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        tell(dict(seconds=seconds, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def main():
    name, *flags = sys.argv[1:]
    if 'flash' in flags:
        FLASH['attn_flash'] = True
    run = WORKLOADS[name]()
    return run() if name == 'start' else serve(run)


if __name__ == '__main__':
    main()
