// Checked by `tsc --noEmit`: arguments and results of a training step.
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  Module,
  type StepResult,
  type Tensor,
  type TrainStepOptions,
  TransformerWrapper,
  trainStep,
} from 'x-transformers'

declare const x: Tensor
declare const signal: AbortSignal

const net = new TransformerWrapper({
  num_tokens: 4,
  max_seq_len: 8,
  attn_layers: new Decoder({ dim: 8, depth: 1 }),
})
const model = new AutoregressiveWrapper(net)
const optimizer = new AdamW(model.parameters())

const result: StepResult = await trainStep(model, optimizer, [[x], [[[1, 2, 3]], { mask: x }]], {
  max_grad_norm: 1,
  signal,
})
const [loss, norm]: [number, number | null] = [result.loss, result.grad_norm]
export const numbers = [loss, norm]

const options: TrainStepOptions = { objective: { cross_entropy: [[[1, 2]]], ignore_index: 0 } }
await trainStep(net, optimizer, [[x, { mask: x }]], options)
// @ts-expect-error: no such option of forward
await trainStep(model, optimizer, [[x, { maks: x }]])
// @ts-expect-error: the arguments of forward must be a list
await trainStep(model, optimizer, [x])
// @ts-expect-error: no such objective
await trainStep(net, optimizer, [[x]], { objective: { l1: [x] } })
// @ts-expect-error: a model is not an optimizer
await trainStep(model, model, [[x]])

class Own extends Module {
  async forward(a: Tensor, b: number) {
    return a.mul(b)
  }
}
await trainStep(new Own(), optimizer, [[x, 2]])
// @ts-expect-error: an argument is missing
await trainStep(new Own(), optimizer, [[x]])
