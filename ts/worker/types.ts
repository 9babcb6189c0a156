/**
 * The types of the main library as they are on the page: tensors are copies, models are in the
 * worker.
 */

import type { Module } from '../module/module.js'
import type { NestedArray } from '../tensor/arrays.js'
import type { Tensor } from '../tensor/tensor.js'
import type { HostTensor, TensorInput } from './tensor.js'

/** A model of the main library, and what stands for it on the page. */
export type ModelPair = readonly [main: unknown, remote: unknown]

/** The model of the page for `M`: the second of the pair whose first it is. */
type RemoteOf<M, Pairs extends ModelPair> = Pairs extends readonly [infer Main, infer Remote]
  ? M extends Main
    ? Remote
    : never
  : never

/** What is the same on both sides. */
type Values = ArrayBufferView | NestedArray<number | bigint | boolean>

/**
 * What a worker takes in place of `T`. Functions cannot go there; models can where `Models` names
 * them: constructors take models, methods do not.
 */
export type RemoteInput<T, Models extends ModelPair = never> = T extends Tensor
  ? TensorInput
  : T extends Values
    ? T
    : T extends Module
      ? RemoteOf<T, Models>
      : T extends AbortSignal
        ? T
        : T extends (...args: never[]) => unknown
          ? never
          : T extends object
            ? { [K in keyof T]: RemoteInput<T[K], Models> }
            : T

/** What comes from a worker in place of `T`. */
export type RemoteOutput<T> = T extends Tensor
  ? HostTensor
  : T extends object
    ? { [K in keyof T]: RemoteOutput<T[K]> }
    : T

/** The arguments of a function, for a worker. */
export type RemoteInputs<A, Models extends ModelPair = never> = A extends readonly unknown[]
  ? { [K in keyof A]: RemoteInput<A[K], Models> }
  : never

type Signature<A extends readonly unknown[], R> = (
  ...args: RemoteInputs<A>
) => Promise<RemoteOutput<Awaited<R>>>

/**
 * A method of the main library as a call of the worker. Overloads stay: the type of a result
 * follows the flags. (TypeScript matches overloads from the last one on; where there are fewer, the
 * first stands for the rest.)
 */
export type RemoteMethod<F> = F extends {
  (...args: infer A1): infer R1
  (...args: infer A2): infer R2
  (...args: infer A3): infer R3
  (...args: infer A4): infer R4
  (...args: infer A5): infer R5
  (...args: infer A6): infer R6
  (...args: infer A7): infer R7
  (...args: infer A8): infer R8
}
  ? Signature<A1, R1> &
      Signature<A2, R2> &
      Signature<A3, R3> &
      Signature<A4, R4> &
      Signature<A5, R5> &
      Signature<A6, R6> &
      Signature<A7, R7> &
      Signature<A8, R8>
  : never

/** A class of the main library as one of the worker. */
export type RemoteClass<
  Class extends abstract new (
    ...args: never[]
  ) => unknown,
  Instance,
  Models extends ModelPair,
> = new (...args: RemoteInputs<ConstructorParameters<Class>, Models>) => Instance
