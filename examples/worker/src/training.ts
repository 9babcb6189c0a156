// The worker: trains until its time is over or the main thread says stop, then saves the model.
import { parentPort, workerData } from 'node:worker_threads'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  TransformerWrapper,
  trainStep,
} from 'x-transformers'
import { encode, type Message, STOP, type Task, TOKENS } from './messages.js'

const LENGTH = 96
const ROWS = 12

const { text, file, seconds } = workerData as Task
const send = (message: Message) => parentPort?.postMessage(message)

let stopped = false
parentPort?.on('message', (message) => {
  stopped = message === STOP
})

const tokens = encode(text)
const randomRow = () => {
  const start = Math.floor(Math.random() * (tokens.length - LENGTH))
  return tokens.slice(start, start + LENGTH + 1)
}

const attn_layers = new Decoder({
  dim: 96,
  depth: 3,
  heads: 3,
  attn_dim_head: 32,
  alibi_pos_bias: true,
})
const net = new TransformerWrapper({ num_tokens: TOKENS, max_seq_len: LENGTH, attn_layers })
const model = new AutoregressiveWrapper(net)
const optimizer = new AdamW(model.parameters(), { lr: 2e-3 })

const end = performance.now() + seconds * 1000
for (let step = 0; performance.now() < end && !stopped; step++) {
  const batch = Array.from({ length: ROWS }, randomRow)
  const { loss } = await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })
  send({ step, loss })
}
await model.save(file)
send({ saved: file })
parentPort?.close()
