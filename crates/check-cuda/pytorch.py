"""The benchmarks of src/parts/bench.rs in PyTorch, by the same names and sizes.

Prints a JSON object of them. Without PyTorch, or without a GPU that it can use, it says so and ends with status 3.
"""
import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print('PyTorch is not installed')
    sys.exit(3)
if not torch.cuda.is_available():
    print('PyTorch finds no GPU')
    sys.exit(3)

DEVICE = 'cuda'
N, ROWS, WIDTH, CLASSES, LENGTH = 4096, 8192, 4096, 50257, 1024
DIM, DEPTH, HEADS, VOCABULARY = 512, 12, 8, 20000
BATCHES = 5


def seconds(work, budget=1.0):
    """The median over batches of runs, each of which ends when the GPU has done its work."""
    def batch(runs):
        start = time.perf_counter()
        for _ in range(runs):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / runs
    batch(1)
    runs = max(1, min(1000, int(budget / BATCHES / max(batch(1), 1e-9))))
    return sorted(batch(runs) for _ in range(BATCHES))[BATCHES // 2]


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(DIM) for _ in range(2))
        self.qkv = torch.nn.Linear(DIM, 3 * HEADS * 64, bias=False)
        self.out = torch.nn.Linear(HEADS * 64, DIM, bias=False)
        self.up = torch.nn.Linear(DIM, 4 * DIM)
        self.down = torch.nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        batch, n, _ = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(batch, n, 3, HEADS, 64).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, n, -1))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class GPT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(VOCABULARY, DIM)
        self.positions = torch.nn.Embedding(LENGTH + 1, DIM)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = torch.nn.LayerNorm(DIM)
        self.logits = torch.nn.Linear(DIM, VOCABULARY)

    def forward(self, ids):
        x = self.tokens(ids[:, :-1]) + self.positions(torch.arange(ids.shape[1] - 1, device=DEVICE))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.logits(self.norm(x)).flatten(0, 1), ids[:, 1:].flatten())


def train_step():
    model = GPT().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    ids = torch.randint(0, VOCABULARY, (1, LENGTH + 1), device=DEVICE)

    def step():
        loss = model(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()
    return step


def kernels():
    def normal(*dims, dtype=torch.float32):
        return torch.randn(dims, device=DEVICE, dtype=dtype)
    a, b = normal(N, N), normal(N, N, dtype=torch.bfloat16)
    x, weight, bias = normal(ROWS, WIDTH), normal(WIDTH), normal(WIDTH)
    logits = normal(ROWS // 2, CLASSES)
    targets = torch.arange(ROWS // 2, device=DEVICE) * 31 % CLASSES
    q = normal(4, 8, LENGTH, 64)
    return dict(
        matmul_f32=lambda: a @ a,
        matmul_bf16=lambda: b @ b,
        add=lambda: x + x,
        gelu=lambda: F.gelu(x),
        layer_norm=lambda: F.layer_norm(x, (WIDTH,), weight, bias),
        softmax=lambda: torch.softmax(x, -1),
        cross_entropy=lambda: F.cross_entropy(logits, targets),
        attention=lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True),
    )


def main():
    # plain f32 products, as ours
    torch.backends.cuda.matmul.allow_tf32 = False
    figures = {name: dict(seconds=seconds(work)) for name, work in kernels().items()}
    figures['gpt_train_step'] = dict(seconds=seconds(train_step(), 5.0))
    figures['version'] = dict(torch=torch.__version__)
    print(json.dumps(figures))


main()
