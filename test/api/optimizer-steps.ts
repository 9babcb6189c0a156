// Steps of an optimizer on one small parameter.
import { type Tensor, tensor } from 'x-transformers'
import { numbers } from './helpers.js'

export const START = [1, -2, 0.5]
export const GRADIENTS = [
  [0.1, -0.2, 0.3],
  [0.4, 0.1, -0.6],
  [-0.3, 0.2, 0.1],
]

/** A parameter with the values of {@link START}. */
export const parameter = () => tensor(Float64Array.from(START), { requires_grad: true })

/** Takes one step with each gradient. */
export async function run(p: Tensor, optimizer: { step(): Promise<void> }): Promise<number[]> {
  for (const gradient of GRADIENTS) {
    p.grad = tensor(Float64Array.from(gradient))
    await optimizer.step()
  }
  return numbers(p)
}
