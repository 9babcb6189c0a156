import { native } from '#native'
import { BRAND, type Brand, brand } from '../brand.js'
import { checkFlag, checkOptions, refuse } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import { jsonOf } from '../native/json.js'
import type { DType, NativeTensor } from '../native/native.js'
import { Promises, whenEnded } from '../promises.js'
import { HANDLE, INSPECT, uncloneable } from '../symbols.js'
import { type ArgumentKind, isData, packArgument } from './arrays.js'
import { heavy } from './calls.js'
import { recordMade } from './constructors.js'
import {
  elements,
  exactNumber,
  inline,
  type Nested,
  nested,
  plain,
  requireOneElement,
  type TypedArray,
  valuesOf,
} from './data.js'
import { checkDevice, type Device } from './device.js'
import { DTYPES, isFloat, sizeOf } from './dtype.js'
import { noGradScopeOf } from './grad-mode.js'
import { TensorHandle } from './handle.js'
import { checkHeap } from './js-heap.js'
import type { NoGradScope } from './no-grad-scope.js'
import { TensorOps } from './operations.js'
import { nextContext, plainContext } from './random.js'
import { type Gates, mergeGates, NO_GATES, schedule, scheduleSync } from './schedule.js'
import { track } from './tidy-scope.js'

/** Options of {@link Tensor.backward}. */
export interface BackwardOptions extends CallControl {
  /**
   * Keeps the graph for a further backward.
   *
   * @default false
   */
  retain_graph?: boolean | undefined
}

const UNCLONEABLE = uncloneable('a Tensor cannot be cloned: send its data() and shape')

/**
 * An array of numbers with a shape, on a device, with its place in the graph of computations.
 *
 * Its values never change, but for parameters. It is freed by `dispose()`, by `using`, by `tidy`,
 * or in the end by the garbage collector.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]], { requires_grad: true })
 * const loss = x.mul(x).sum()
 * await loss.backward()
 * x.grad?.toArray() // [[2, 4], [6, 8]]
 */
export class Tensor extends TensorOps<Tensor> {
  /** @internal */
  readonly [HANDLE]: TensorHandle
  /** @internal */
  readonly uncloneable: symbol = UNCLONEABLE

  /** @internal Tensors are made by `tensor`, `zeros` and their like. */
  constructor(handle: TensorHandle) {
    super()
    if (!(handle instanceof TensorHandle)) {
      throw new XTransformersError(
        'invalid_argument',
        'a Tensor is made by tensor(data), zeros(shape) and their like, not by new',
      )
    }
    this[HANDLE] = handle
    // the parameters of a model live as long as the model
    if (!handle.owned) track(handle)
  }

  /** Length of each axis. */
  get shape(): readonly number[] {
    return this[HANDLE].shape()
  }

  /** Type of the elements. */
  get dtype(): DType {
    return this[HANDLE].use().dtype()
  }

  /** `cpu`, or `cuda:0`. */
  get device(): Device {
    return this[HANDLE].use().device() as Device
  }

  /**
   * Whether a backward reaches this tensor. Of a leaf it can be set: false freezes a parameter,
   * which then gets no gradient and is passed over by optimizers, true thaws it.
   *
   * @throws XTransformersError on setting: (`invalid_tensor`) where the tensor is a result;
   *   (`busy`) while a call on the parameter is pending
   * @example
   * for (const parameter of encoder.parameters()) parameter.requires_grad = false
   */
  get requires_grad(): boolean {
    return this[HANDLE].use().requiresGrad()
  }

  set requires_grad(on: boolean) {
    this[HANDLE].requireGrad(checkFlag(on, 'requires_grad'))
    if (on) recordMade(this)
  }

  /**
   * The gradient that backward has added up, in a leaf; null where there is none.
   *
   * @throws XTransformersError (`busy`) while a backward on the same weights is pending
   */
  get grad(): Tensor | null {
    const gradient = guarded(() => this[HANDLE].settled('grad').grad())
    return gradient && wrap(gradient)
  }

  /** Sets or clears the gradient; it has the shape of the tensor. */
  set grad(value: Tensor | null) {
    const handle = this[HANDLE]
    const gradient =
      value === null || value === undefined
        ? null
        : checkTensor(value, 'grad')[HANDLE].settled('grad')
    scheduleSync('setting grad', NO_GATES, handle.gates, () =>
      guarded(() => handle.use().setGrad(gradient)),
    )
  }

  /**
   * The values in row-major order: Float32Array (also for f16 and bf16), Float64Array,
   * BigInt64Array for i64, Uint8Array for u8 and bool. Of a parameter: as they are once the calls
   * made before have ended.
   */
  data(): Promise<TypedArray> {
    const handle = this[HANDLE]
    if (this.device !== 'cpu') {
      // the GPU may have much to do before: JavaScript goes on meanwhile
      const { dtype } = this
      const [reads, writes] = [handle.valueGates(), NO_GATES]
      const start = async () => valuesOf(await handle.pinned().data(), dtype)
      return heavy({ reads, writes, inputs: [handle], start })
    }
    handle.pin()
    return whenEnded(
      schedule(handle.valueGates(), NO_GATES, () => guarded(() => elements(handle.pinned()))),
      () => handle.unpin(),
    )
  }

  /** As {@link data}, at once. */
  dataSync(): TypedArray {
    return guarded(() => elements(this[HANDLE].settled('dataSync()')))
  }

  /**
   * The only element, as a number; a boolean for `bool`.
   *
   * @throws XTransformersError (`invalid_tensor`) where there are several, or an `i64` beyond 2^53,
   *   which a number does not hold
   */
  item(): number | boolean {
    requireOneElement(this.shape)
    return plain(this.dataSync()[0], this.dtype)
  }

  /**
   * The values as nested arrays of numbers, of booleans for `bool`; without axes, the value itself.
   *
   * @throws XTransformersError (`invalid_tensor`) where one is an `i64` beyond 2^53, which a number
   *   does not hold: `dataSync()` gives it
   * @throws XTransformersError (`out_of_memory`) where JavaScript's heap does not hold them;
   *   {@link data} needs none of it
   */
  toArray(): Nested {
    checkHeap(this.shape)
    return nested(this.dataSync(), this.shape, this.dtype)
  }

  /**
   * The same values on another device or in another type; always a new tensor.
   *
   * @example
   * x.to('cuda')
   * x.to('f64')
   */
  to(target: Device | DType): Tensor {
    if ((DTYPES as readonly unknown[]).includes(target)) return this.cast(target as DType)
    return this.run('to_device', [], { device: checkDevice(target, DTYPES) })
  }

  /** The same values on the GPU. */
  cuda(): Tensor {
    return this.to('cuda')
  }

  /** The same values in main memory. */
  cpu(): Tensor {
    return this.to('cpu')
  }

  /** The same values without a graph. */
  detach(): Tensor {
    const handle = this[HANDLE]
    return wrap(
      guarded(() => handle.settled('detach()').detach()),
      NO_GATES,
      handle.noGradScope,
    )
  }

  /**
   * Adds the gradients of this tensor, of one element, to the leaves that it depends on (`.grad`),
   * and frees the graph.
   *
   * @throws XTransformersError (`invalid_tensor`) where there is no graph, where it was freed by an
   * earlier backward, or where a parameter has changed since the forward
   */
  backward(options?: BackwardOptions): Promise<void> {
    const handle = this[HANDLE]
    try {
      const { retain_graph, signal } = checkOptions(options, 'backward()', [
        'retain_graph',
        'signal',
      ])
      const retain = checkFlag(retain_graph, 'retain_graph', false)
      return heavy({
        reads: NO_GATES,
        writes: handle.gates,
        inputs: [handle],
        signal: checkSignal(signal),
        start: (abort) => native.backward(handle.pinned(), retain, abort),
      })
    } catch (error) {
      return Promises.reject(error)
    }
  }

  /** As {@link backward}, at once. */
  backwardSync(options?: { retain_graph?: boolean }): void {
    const handle = this[HANDLE]
    const { retain_graph } = checkOptions(options, 'backwardSync()', ['retain_graph'])
    const retain = checkFlag(retain_graph, 'retain_graph', false)
    scheduleSync('backwardSync()', NO_GATES, handle.gates, () =>
      guarded(() => native.backwardSync(handle.use(), retain)),
    )
  }

  /** Frees the values, and the graph if nothing else holds it. Every later use is an error. */
  dispose(): void {
    this[HANDLE].dispose()
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand('a Tensor')
  }

  /**
   * What `Object.prototype.toString` says. Frameworks that wrap objects in proxies, such as Vue,
   * leave objects of their own kind alone.
   */
  get [Symbol.toStringTag](): string {
    return 'Tensor'
  }

  /** Shape, type and, for a small tensor, the values. */
  override toString(): string {
    const handle = this[HANDLE]
    if (handle.disposed) return 'Tensor(disposed)'
    const head = `Tensor([${this.shape.join(', ')}], ${this.dtype}${this.device === 'cpu' ? '' : `, ${this.device}`})`
    const size = sizeOf(this.shape)
    if (size > 100 || handle.busy()) return head
    return `${head} ${inline(this.dataSync(), this.shape, this.dtype)}`
  }

  /**
   * For operators of JavaScript, such as `loss < 2`: the only element, see {@link item}. Text is
   * that of {@link toString}.
   *
   * @throws XTransformersError (`invalid_tensor`) where there are several elements: compare with
   *   `lt`, `eq` and their like
   */
  [Symbol.toPrimitive](hint: string): number | boolean | string {
    return hint === 'string' ? this.toString() : this.item()
  }

  /** @internal */
  [INSPECT](): string {
    return this.toString()
  }

  /** The values, for `JSON.stringify`. */
  toJSON(): Nested {
    return this.toArray()
  }

  protected override run(
    name: string,
    others: readonly Tensor[],
    args?: Record<string, unknown>,
  ): Tensor {
    return apply(name, [this, ...others], args)
  }

  protected override operand(value: unknown): Tensor {
    return checkTensor(value, 'the operand')
  }

  protected override withData(
    value: unknown,
    kind: ArgumentKind,
    name: string,
    use: (tensor: Tensor) => Tensor,
  ): Tensor {
    if (!isData(value)) return use(this.operand(value))
    using made = fromArgument(value as object, kind, name, this.device)
    return use(made)
  }

  protected override scalarLike(value: number): Tensor {
    // whole numbers do not round 0.5, say
    const dtype = isFloat(this.dtype)
      ? this.dtype
      : Number.isInteger(value) && this.dtype !== 'bool'
        ? this.dtype
        : 'f32'
    return wrap(
      create('scalar', { shape: [], dtype, device: this.device, value: exactNumber(value) }),
    )
  }
}

/**
 * A native tensor as the public class. `gates`: of the weights that its graph may hold;
 * `noGradScope`: the `noGrad` that it comes of.
 */
export function wrap(
  tensor: NativeTensor,
  gates: Gates = NO_GATES,
  noGradScope: NoGradScope | null = null,
): Tensor {
  const kept = gates.size > 0 && tensor.requiresGrad() ? gates : NO_GATES
  const handle = new TensorHandle(tensor, kept, false)
  handle.noGradScope = noGradScope
  return new Tensor(handle)
}

/** A new leaf, with a gate of its own. */
export function wrapLeaf(tensor: NativeTensor): Tensor {
  const leaf = new Tensor(new TensorHandle(tensor, null, true))
  recordMade(leaf)
  return leaf
}

/** A tensor from an array that stands for one; whoever asks for it frees it. */
export function fromArgument(
  value: object,
  kind: ArgumentKind,
  name: string,
  device: Device = 'cpu',
): Tensor {
  const { bytes, source, dtype, shape } = packArgument(value, kind, name)
  return wrap(guarded(() => native.tensor(bytes, source, dtype, shape, device)))
}

/** @throws XTransformersError (`invalid_argument`) where `value` is no tensor */
export function checkTensor(value: unknown, what: string): Tensor {
  if (value instanceof Tensor) return value
  throw refuse(what, 'a Tensor', value)
}

const RANDOM = new Set(['rand', 'randn', 'randint'])

/** Runs an operation on tensors, now. */
export function apply(
  name: string,
  inputs: readonly Tensor[],
  args: Record<string, unknown> = {},
): Tensor {
  const handles = inputs.map((input) => checkTensor(input, 'the operand')[HANDLE])
  const natives = handles.map((handle) => handle.settled(name))
  const noGradScope = noGradScopeOf(handles)
  const result = guarded(() =>
    native.op(name, natives, jsonOf(args), plainContext(noGradScope === null)),
  )
  return wrap(result, mergeGates(handles.map((handle) => handle.gates)), noGradScope)
}

/** Runs an operation that makes a tensor. */
export function create(name: string, args: Record<string, unknown>): NativeTensor {
  const context = RANDOM.has(name) ? nextContext() : plainContext()
  return guarded(() => native.op(name, [], jsonOf(args), context))
}
