import { AutoregressiveWrapper, arange, Decoder, randint, TransformerWrapper } from 'x-transformers'
import { AdamW, Trainer } from 'x-transformers/train'
import { wandbLogger } from './wandb-logger.js'

const attn_layers = new Decoder({ dim: 32, depth: 2, heads: 2 })
const net = new TransformerWrapper({ num_tokens: 64, max_seq_len: 32, attn_layers })
const model = new AutoregressiveWrapper(net)

// rows that count up: there is something to learn
const batch = () => randint(0, 31, [8, 1]).add(arange(0, 33))

const done = await new Trainer(model, {
  data: () => [batch()],
  optimizer: new AdamW(model.parameters(), { lr: 3e-3 }),
  steps: 100,
  clip: 1,
  norms: { every: 10 },
  loggers: [wandbLogger({ project: 'x-transformers' })],
}).run()
console.log(`${done.steps} steps, loss ${done.loss.toFixed(3)}`)
