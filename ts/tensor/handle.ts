import { guarded, XTransformersError } from '../errors.js'
import type { NativeTensor } from '../native/native.js'
import type { NoGradScope } from './no-grad-scope.js'
import { Gate, type Gates, isBusy, NO_GATES, runOrQueue, scheduleSync } from './schedule.js'

/** How many there have been. */
let made = 0

/** The native tensor behind a {@link Tensor}, and how long it lives. */
export class TensorHandle {
  /**
   * Its number. Without one, two tensors would be alike to `deepStrictEqual`, which sees no private
   * field.
   */
  readonly id: number
  /** The weights whose graph this tensor holds. */
  gates: Gates
  /** Whether the values may change in place: parameters, buffers and other leaves. */
  live: boolean
  /** The `noGrad` that it comes of. */
  noGradScope: NoGradScope | null = null
  /** Whether it is a parameter or buffer of one of this package's models. */
  readonly owned: boolean
  #native: NativeTensor
  #shape: readonly number[] | null = null
  #pins = 0
  #disposed = false

  /** @param gates absent: a new one, of its own */
  constructor(native: NativeTensor, gates: Gates | null, live: boolean, owned = false) {
    this.id = made++
    this.#native = native
    this.gates = gates ?? new Set([new Gate(this)])
    this.live = live
    this.owned = owned
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /** @throws XTransformersError (`disposed`) after `dispose()` */
  use(): NativeTensor {
    if (this.#disposed)
      throw new XTransformersError(
        'disposed',
        'this tensor was disposed and cannot be used any more',
      )
    return this.#native
  }

  /** Length of each axis. */
  shape(): readonly number[] {
    const native = this.use()
    this.#shape ??= Object.freeze(Array.from(native.shape()))
    return this.#shape
  }

  /** As `use`, for a call that has pinned the tensor: the user may have disposed it since. */
  pinned(): NativeTensor {
    return this.#native
  }

  /** Keeps the native tensor until `unpin`: a call that waits for its turn still needs it. */
  pin(): void {
    this.use()
    this.#pins++
  }

  unpin(): void {
    this.#pins--
    this.#free()
  }

  /** Freezes or thaws a leaf; makes a leaf of values without a graph. */
  requireGrad(on: boolean): void {
    const native = this.use()
    if (native.requiresGrad() === on) return
    const refuse = (message: string) => {
      throw new XTransformersError('invalid_tensor', message)
    }
    if (native.isLeaf()) {
      scheduleSync('requires_grad', NO_GATES, this.gates, () =>
        guarded(() => native.setRequiresGrad(on)),
      )
    } else if (!on) {
      refuse('only a leaf can stop requiring a gradient: use detach() for a result')
    } else if (this.owned) {
      refuse('a buffer of a model is no parameter: it cannot require a gradient')
    } else {
      this.#becomeLeaf(guarded(() => native.asLeaf()))
    }
  }

  /**
   * Puts a leaf in place, whose values may change from now on; the object that the user holds stays
   * the same.
   */
  #becomeLeaf(native: NativeTensor): void {
    this.#native.dispose()
    this.#native = native
    this.gates = new Set([new Gate(this)])
    this.live = true
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#free()
  }

  /**
   * As `dispose`, of a leaf also for those that hold it, such as optimizers: once the calls made
   * before have ended. The parameters of the package's own models are freed with these.
   */
  release(): void {
    if (this.#disposed || this.owned) return
    const native = this.#native
    this.#pins++
    runOrQueue(this.gates, () => {
      guarded(() => native.freeLeaf())
      this.unpin()
    })
    this.dispose()
  }

  #free(): void {
    if (this.#disposed && this.#pins === 0) this.#native.dispose()
  }

  /** The gates that a look at the values must respect. */
  valueGates(): Gates {
    return this.live ? this.gates : NO_GATES
  }

  /** Whether the values are about to change. */
  busy(): boolean {
    return this.live && isBusy(this.gates, NO_GATES)
  }

  /** @throws XTransformersError (`busy`) while the values are about to change */
  settled(what: string): NativeTensor {
    const native = this.use()
    if (this.busy()) {
      throw new XTransformersError(
        'busy',
        `${what} would read a parameter that a pending call changes (backward, step ...): await that call first`,
      )
    }
    return native
  }
}
