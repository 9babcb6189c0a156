"""The Python contender of run.mjs: the step of a row with x-transformers 1.9.2. ours.mjs has the same for this package.

usage: python options.py ROW

ROW is JSON, as a row of rows.json; what comes in and goes out is that of ../compare/workloads.py.
"""
import json
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from x_transformers import AutoregressiveWrapper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'compare'))
from workloads import CHAR, chars, lm, serve, trainer


class Recurrent(torch.nn.Module):
    """Each step sees the memories of the one before; the autoregressive wrapper gives none."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.mems = None

    def forward(self, tokens):
        logits, self.mems = self.net(tokens[:, :-1], mems=self.mems, return_mems=True)
        return cross_entropy(logits.transpose(1, 2), tokens[:, 1:])


def arguments(options):
    # 1.9.2 takes a list of shifts for a number
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def main():
    row = json.loads(sys.argv[1])
    net = lm(**{**CHAR, **arguments(row.get('layers', {}))}, wrapper=row.get('wrapper', {}))
    model = Recurrent(net) if row.get('memories') else AutoregressiveWrapper(net, **row.get('autoregressive', {}))
    serve(trainer(model, chars()))


if __name__ == '__main__':
    main()
