// The model, in a worker: the page stays responsive while it learns and writes.
import { spawn, tensor } from 'x-transformers/worker'
import text from './text.txt?raw'

const LENGTH = 64
const ROWS = 8
/** Of the browser's own files for this page. */
const FILE = 'opfs:model.safetensors'

export const x = await spawn()

/** Each byte of UTF-8 is a token. */
const encode = (text: string) => new TextEncoder().encode(text)
const tokens = encode(text)

function makeModel() {
  const attn_layers = new x.Decoder({
    dim: 96,
    depth: 2,
    heads: 3,
    attn_dim_head: 32,
    rotary_pos_emb: true,
  })
  const net = new x.TransformerWrapper({ num_tokens: 256, max_seq_len: LENGTH, attn_layers })
  return new x.AutoregressiveWrapper(net)
}

let model = makeModel()

/** Rows that start at random places; each token is the target of the one before it. */
function batch() {
  const rows = new Uint8Array(ROWS * (LENGTH + 1))
  for (let row = 0; row < ROWS; row++) {
    const start = Math.floor(Math.random() * (tokens.length - LENGTH))
    rows.set(tokens.subarray(start, start + LENGTH + 1), row * (LENGTH + 1))
  }
  return tensor(rows, { shape: [ROWS, LENGTH + 1], dtype: 'i64' })
}

/** Trains until it is aborted; gives the loss of each step. */
export async function* train(signal: AbortSignal): AsyncGenerator<number> {
  const optimizer = new x.AdamW(model, { lr: 3e-3 })
  model.train()
  try {
    while (!signal.aborted) {
      const { loss } = await x.trainStep({
        model,
        optimizer,
        batches: [[batch()]],
        max_grad_norm: 1,
      })
      yield loss
    }
  } finally {
    optimizer.dispose()
  }
}

/** Text that follows the prompt, piece by piece. */
export async function* write(prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  const start = tensor([[...encode(prompt)]], { dtype: 'i64' })
  model.eval()
  for await (const token of model.stream(start, 300, { temperature: 0.5, signal }))
    yield decoder.decode(Uint8Array.of(token), { stream: true })
}

export const save = (): Promise<void> => model.save(FILE)

export async function load(): Promise<void> {
  const loaded = await x.load<typeof model>(FILE)
  model.dispose()
  model = loaded
}
