import { BRAND, type Brand, brand, withArticle } from '../brand.js'
import { checkFlag } from '../checks.js'
import { classNameOf } from '../io/named.js'
import { GATES, INSPECT, NATIVE_MODULE, SELF, uncloneable } from '../symbols.js'
import { checkDevice, type Device } from '../tensor/device.js'
import type { Gates } from '../tensor/schedule.js'
import type { Entry, StateDict } from './entries.js'
import { hookForward } from './forwards.js'
import { noteModule } from './hidden.js'
import { changeLora, checkMerge, loraLayersOf } from './lora.js'
import {
  CHILDREN,
  DISPOSAL,
  HAS_CHILD,
  hasLiveParent,
  identity,
  whileDisposing,
} from './parents.js'
import { withParts } from './parts.js'
import { recordAll, recordedBy } from './recording.js'
import {
  ASSIGN,
  CHANGE_LORA,
  CHECK_MERGE,
  ENTRIES,
  FORGET,
  LORA_LAYERS,
  type LoRAChange,
  type LoRALayers,
  METADATA,
  type Quantization,
  RECORD,
  RECORDED,
  type Recorded,
} from './submodule.js'
import { renderTree } from './tree.js'
import { ModuleWeights } from './weights.js'
import {
  assignAll,
  childrenOf,
  entriesOf,
  gatesOf,
  moveAll,
  quantizationOf,
  quantizeAll,
  releaseAll,
  trainAll,
} from './within.js'

const UNCLONEABLE = uncloneable('a model cannot be cloned: send saveBytes()')

/**
 * A model, or a part of one.
 *
 * Extend it with a `forward` of your own: properties that are Modules, or Tensors with
 * `requires_grad`, become its children and parameters, named as the properties are; also those in
 * arrays, Maps, Sets and other objects, in one another too: `heads.0.weight`,
 * `blocks.first.weight`. Nothing is looked for in built-in objects of other kinds, in optimizers,
 * and behind getters of classes. A parameter whose `requires_grad` was set to false stays one: it
 * is frozen. Tensors that were made without it are no parameters, and are not saved.
 *
 * JavaScript shows nobody what is in `#private` fields, closures and WeakMaps. A parameter or a
 * Module that is only there is an error (`invalid_state`): at the first use of the parameters,
 * where the constructor has made it, else at the first `forward` whose result has it in its graph,
 * unless an optimizer, another model or the caller has it too. `private` of TypeScript is fine.
 *
 * @example
 * class Classifier extends Module {
 *   encoder = new TransformerWrapper({
 *     num_tokens: 256, max_seq_len: 64, attn_layers: new Encoder({ dim: 64, depth: 2 }),
 *   })
 *   head = randn([64, 2], { requires_grad: true })
 *
 *   async forward(x: Tensor) {
 *     const embedded = await this.encoder.forward(x, { return_embeddings: true })
 *     return embedded.mean(1).matmul(this.head)
 *   }
 * }
 */
export abstract class Module<Options = unknown> extends ModuleWeights {
  /** @internal The model itself, where `this` may be a Proxy around it. */
  declare readonly [SELF]: this
  /** @internal */
  readonly uncloneable: symbol = UNCLONEABLE
  #training = true
  readonly #options: Options
  /** How it ended, in words; null while it lives. */
  #ended: string | null = null
  #released = false

  /** @param options kept as `options`; a class of your own needs none */
  constructor(options?: Options) {
    super()
    Object.defineProperty(this, SELF, { value: this })
    this.#options = options as Options
    noteModule(this)
    if (!(NATIVE_MODULE in this)) hookForward(this)
  }

  /** What the model computes. */
  // biome-ignore lint/suspicious/noExplicitAny: every class has arguments of its own
  abstract forward(...args: any[]): unknown

  /** The options that the model was made with. */
  get options(): Options {
    return this[SELF].#options
  }

  /** Whether dropout is on: true for a new model, false after `eval()`. */
  get training(): boolean {
    return this[SELF].#training
  }

  /** Turns dropout on (or off): in this model and in those within. */
  train(on = true): this {
    this[SELF].#training = checkFlag(on, 'the mode')
    trainAll(this, on)
    return this
  }

  /** Turns dropout off, and nothing else. */
  eval(): this {
    return this.train(false)
  }

  /**
   * Moves weights, buffers and gradients to a device, in place; optimizers keep their parameters.
   *
   * @throws XTransformersError (`busy`) while a call on the model is pending
   */
  to(device: Device): this {
    moveAll(this, checkDevice(device))
    return this
  }

  /** Moves the model to the GPU. */
  cuda(): this {
    return this.to('cuda')
  }

  /** Moves the model to main memory. */
  cpu(): this {
    return this.to('cpu')
  }

  /**
   * Keeps the weights of linear layers in fewer bytes, for inference: a generation, which reads
   * them all for each token, takes less time and memory. Each weight is rounded, and what it was
   * before is gone.
   *
   * - `q8_0`: 8 bits, and a scale in 16 bits for each 32 neighbours; changes next to nothing
   * - `q4_0`: 4 bits, and such a scale; changes what comes out, small models most
   * - `bf16`: the upper half of an f32
   *
   * Embeddings, norms, biases, a head that is the token embedding, and, but for `bf16`, rows that
   * are not whole blocks of 32 stay f32. `stateDict()` and `save()` give the rounded values as f32.
   * Models that share the weights follow. Loading weights makes them f32 again; the gradients of
   * the quantized ones are dropped.
   *
   * From then on the model computes inside `noGrad` only, as `generate` and `score` do anyway: to
   * train it, or to move it to another device, is an error (`quantized`).
   *
   * @throws XTransformersError (`invalid_options`) where there is no such format;
   * (`invalid_tensor`) where a weight is not finite or not f32 on the CPU, which changes nothing;
   * (`busy`) while a call on the model is pending
   * @example
   * const model = (await loadModel('model.safetensors')).quantize('q8_0')
   */
  quantize(format: Quantization): this {
    quantizeAll(this, format)
    return this
  }

  /**
   * How quantized weights are kept: the first one, where they are in several formats; null where
   * all are f32.
   */
  get quantization(): Quantization | null {
    return quantizationOf(this)
  }

  /**
   * Frees the weights: its own, and those of the models within, unless another live model has these
   * within too. Every later use is an error (`disposed`); so is a later step of an optimizer of
   * them.
   */
  dispose(): void {
    if (this[SELF].#released) return
    whileDisposing(this, () => {
      this[SELF].#ended ??= `this ${this.constructor.name} was disposed`
      // a live model around it goes on with the weights, and frees them
      if (hasLiveParent(this)) return
      this[SELF].#released = true
      releaseAll(this)
    })
  }

  /** @internal As {@link dispose}, without the models within. */
  [FORGET](): void {
    this.dispose()
  }

  /** @internal */
  get [DISPOSAL](): string | null {
    return this[SELF].#ended
  }

  /** @internal */
  [CHILDREN](): readonly object[] {
    return childrenOf(this)
  }

  /** @internal */
  [HAS_CHILD](part: object): boolean {
    return withParts(this, (parts) => parts.some(([, own]) => identity(own) === identity(part)))
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(withArticle(this.constructor.name || 'Module'))
  }

  /**
   * What `Object.prototype.toString` says. Frameworks that wrap objects in proxies, such as Vue,
   * leave objects of their own kind alone.
   */
  get [Symbol.toStringTag](): string {
    return 'Module'
  }

  /** The model as a readable tree. */
  override toString(): string {
    if (this[SELF].#ended !== null) return `${this.constructor.name}(disposed)`
    return renderTree(this.constructor.name, this[ENTRIES]())
  }

  /**
   * The readable tree, for `JSON.stringify`: weights are saved by {@link save} and
   * {@link saveBytes}.
   */
  toJSON(): string {
    return this[INSPECT]()
  }

  /** @internal Printing must not fail. */
  [INSPECT](): string {
    try {
      return this.toString()
    } catch (error) {
      return `${this.constructor.name}(${(error as Error).message})`
    }
  }

  /** @internal The lines of the state dict. */
  [ENTRIES](): Entry[] {
    return entriesOf(this)
  }

  /** @internal */
  [METADATA](): Record<string, string> {
    return { format: 'pt', class: classNameOf(this) }
  }

  /** @internal The gates of all weights. */
  [GATES](): Gates {
    return gatesOf(this)
  }

  /** @internal Copies values in; names and shapes have been checked. */
  [ASSIGN](state: StateDict): void {
    assignAll(this, state)
  }

  /** @internal */
  [LORA_LAYERS](): LoRALayers[] {
    return loraLayersOf(this)
  }

  /** @internal */
  [CHECK_MERGE](modules: readonly string[]): void {
    checkMerge(this, modules)
  }

  /** @internal The names are those of linear layers. */
  [CHANGE_LORA](change: LoRAChange): void {
    changeLora(this, change)
  }

  /** @internal */
  [RECORD](on: boolean): void {
    recordAll(this, on)
  }

  /** @internal */
  [RECORDED](): Promise<Recorded> {
    return recordedBy(this)
  }
}
