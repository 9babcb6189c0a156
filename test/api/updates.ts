// What the tests of LoRA have in common.
import {
  type LoRA,
  type Module,
  noGrad,
  randn,
  type Tensor,
  type TransformerWrapper,
} from 'x-transformers'
import { ids, numbers } from './helpers.js'

/** Token ids, (2, 9). */
export const X = ids(2, 9)
const TOKENS = X.narrow(1, 0, 8).toArray() as number[][]

/** All values of a model by name. */
export const values = (model: Module) =>
  new Map([...model.stateDict()].map(([name, tensor]) => [name, numbers(tensor)]))

export const logits = async (model: { net: TransformerWrapper }) =>
  numbers((await noGrad(() => model.net.forward(TOKENS))) as Tensor)

export const set = (model: Module, state: Record<string, Tensor>) =>
  model.loadStateDict(state, { strict: false })

/** Gives `B`, which is 0 at first, values. */
export function randomB(model: Module, lora: LoRA): void {
  for (const [name, { shape }] of lora.namedParameters())
    if (name.endsWith('lora_B.weight')) set(model, { [name]: randn(shape).mul(0.3) })
}

/** How many parameters are frozen. */
export const frozenIn = (model: Module) =>
  model.parameters().filter((parameter) => !parameter.requires_grad).length
