// This package's contender of run.mjs: the step of a row, which rows.json declares and run.mjs hands over as JSON. options.py has the
// same for Python.
//
//   node ours.mjs ROW
//
// With `batch` in it: of so many sequences.
import x from '../../dist/cjs/index.js'
import { serve } from '../compare/serve.mjs'
import { CHAR, chars, lm, trainer } from '../compare/workloads.mjs'

/** Each step sees the memories of the one before; the autoregressive wrapper gives none, in 1.9.2 either. */
function recurrent(net) {
  let mems = null
  return {
    train: () => net.train(),
    parameters: () => net.parameters(),
    async forward(tokens) {
      const length = tokens.shape[1]
      const [input, target] = [tokens.slice(1, 0, length - 1), tokens.slice(1, 1, length)]
      const [logits, next] = await net.forward(input, { mems, return_mems: true })
      const loss = x.crossEntropy(logits, target)
      for (const used of [...(mems ?? []), input, target, logits]) used.dispose()
      mems = next
      return loss
    },
  }
}

const { layers, wrapper, autoregressive = {}, memories, batch } = JSON.parse(process.argv[2])
const net = lm(x, { ...CHAR, ...layers }, wrapper)
const model = memories ? recurrent(net) : new x.AutoregressiveWrapper(net, autoregressive)
await serve(x, trainer(x, model, chars(x, batch)))
