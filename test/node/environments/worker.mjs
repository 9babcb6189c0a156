// A worker that comes and goes: it imports the library, starts what it is asked for, and says so.
import { parentPort, workerData } from 'node:worker_threads'
import * as x from 'x-transformers'

const started = () => parentPort.postMessage('started')

function setUp() {
  const attn_layers = new x.Decoder({ dim: 128, depth: 2, heads: 4 })
  const net = new x.TransformerWrapper({ num_tokens: 256, max_seq_len: 256, attn_layers })
  const model = new x.AutoregressiveWrapper(net)
  const optimizer = new x.AdamW(model.parameters())
  return { model, optimizer, batch: x.randint(0, 256, [4, 257]), prompt: x.randint(0, 256, [1, 8]) }
}

/** What is pending when the worker ends. */
const ACTS = {
  import: () => {},
  async forward({ model, batch }) {
    started()
    // more than there are threads: some of them wait
    await Promise.all(Array.from({ length: 8 }, () => x.noGrad(() => model.forward(batch))))
  },
  async backward({ model, batch }) {
    const loss = await model.forward(batch)
    started()
    await loss.backward()
  },
  async step({ model, optimizer, batch }) {
    await (await model.forward(batch)).backward()
    started()
    for (let i = 0; i < 8; i++) await optimizer.step()
  },
  async generate({ model, prompt }) {
    started()
    await model.generate(prompt, 240)
  },
  async save({ model }) {
    started()
    await model.saveBytes()
  },
  async load({ model }) {
    const bytes = await model.saveBytes()
    started()
    await x.load(bytes)
  },
  // ends itself meanwhile
  exit({ model, batch }) {
    model.forward(batch)
    setImmediate(() => process.exit(0))
  },
  throws({ model, batch }) {
    model.forward(batch)
    throw new Error('as asked')
  },
}

const act = ACTS[workerData.act]
await act(act.length > 0 ? setUp() : undefined)
started()
