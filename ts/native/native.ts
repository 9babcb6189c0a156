/**
 * What both addons (napi-rs for Node, wasm-bindgen for the browser) implement: opaque handles, JSON
 * for control data, bytes for tensors. Everything above it is typed TypeScript that never knows
 * which of the two it talks to.
 *
 * Errors arrive as `Error` whose message is JSON: `{ "code", "message", "problems" }` (see
 * errors.ts).
 */

export type DType = 'f32' | 'f64' | 'f16' | 'bf16' | 'i64' | 'u8' | 'bool'

/**
 * What a call needs to know besides its arguments, as JSON:
 * `{ "seed": number, "call": number, "grad": boolean }`. `seed` and `call` choose the random
 * numbers: a call takes its number when it is made, so that neither scheduling nor threads change a
 * result. `grad`: whether the call keeps a graph for backward.
 */
export type ContextJson = string

/** A tensor: values, and its place in the graph. Every use after `dispose()` is an error. */
export interface NativeTensor {
  shape(): number[]
  dtype(): DType
  /** `cpu`, or `cuda:0`. */
  device(): string
  requiresGrad(): boolean
  /** Freezes or thaws a leaf: whether operations from now on lead a gradient to it. */
  setRequiresGrad(on: boolean): void
  isLeaf(): boolean
  /** The accumulated gradient of a leaf; null where there is none yet. */
  grad(): NativeTensor | null
  /** Sets (same shape) or clears the gradient of a leaf. */
  setGrad(grad: NativeTensor | null): void
  /**
   * Puts the values of `source`, of the same shape, into a leaf; graphs made from the old ones
   * become stale.
   */
  assign(source: NativeTensor): void
  /** Moves a leaf and its gradient, in place. */
  moveTo(device: string): void
  /** The same values as a new leaf that collects a gradient. */
  asLeaf(): NativeTensor
  /** The same values without a graph. */
  detach(): NativeTensor
  /**
   * Values in row-major order, little-endian: f32 for f16 and bf16, one byte each for u8 and bool.
   */
  data(): Uint8Array
  /**
   * Frees the values and the gradient of a leaf for good, whatever else holds it, such as an
   * optimizer.
   */
  freeLeaf(): void
  dispose(): void
}

/** A result with tensors in it: `{"$tensor": i}` in the JSON stands for `tensors[i]`. */
export interface NativeResult {
  readonly json: string
  readonly tensors: NativeTensor[]
}

/** Set by an AbortSignal; every heavy call polls it, and then rejects with code `aborted`. */
export interface NativeAbortFlag {
  set(): void
}

/** JSON of `NativeModule.describe()`. */
export interface ModuleDescription {
  class: string
  /** As given to the constructor; nested models as `{ "class", "options" }`. */
  options: Record<string, unknown>
  /**
   * In the order of the Python package's state dict. `tied`: the entry whose tensor this one
   * shares.
   */
  entries: { name: string; shape: number[]; kind: 'parameter' | 'buffer'; tied: string | null }[]
  /**
   * Why generation cannot keep keys and values between its steps; null where it can, and for models
   * that generate nothing that way.
   */
  not_cacheable: string | null
}

export interface NativeModule {
  /** JSON of a ModuleDescription. Draws no values. */
  describe(): string
  /** The parameter or buffer of that name; draws its initial value where that was not done yet. */
  entry(name: string): NativeTensor
  /** A new handle of the model that was given to the constructor as option `name`. */
  child(name: string): NativeModule
  /** Sets training mode, of the models within too. */
  train(on: boolean): void
  /** Moves weights, gradients and buffers, in place. */
  to(device: string): void
  /**
   * Keeps the weights of linear layers as `q8_0`, `q4_0` or `bf16`, for inference, until others are
   * loaded.
   */
  quantize(format: string): void
  /** The format of the quantized weights; null where there are none. */
  quantization(): string | null
  /**
   * Copies values in; `names` is a JSON array, one per tensor. Gives JSON
   * `{ "missing": string[], "unexpected": string[] }`.
   */
  loadState(names: string, tensors: NativeTensor[], strict: boolean): string
  /**
   * Runs `forward`, `generate` or `score`. `args` is a JSON array: the positional arguments, then
   * one object; tensors stand in it as `{"$tensor": i}`.
   */
  call(
    method: string,
    args: string,
    tensors: NativeTensor[],
    context: ContextJson,
    abort: NativeAbortFlag,
  ): Promise<NativeResult>
  callSync(
    method: string,
    args: string,
    tensors: NativeTensor[],
    context: ContextJson,
  ): NativeResult
  /**
   * Starts a generation of which the caller takes the steps; `method` is `generate` or `stream`,
   * with its arguments.
   */
  generation(
    method: string,
    args: string,
    tensors: NativeTensor[],
    context: ContextJson,
  ): NativeGeneration
  /** The checkpoint (safetensors with class, options and version in the metadata). */
  saveBytes(): Promise<Uint8Array>
  saveBytesSync(): Uint8Array
  /** Frees the weights with these names, a JSON array, for good, whatever else holds them. */
  freeWeights(names: string): void
  dispose(): void
}

/** A generation in steps: `next` until it gives null. */
export interface NativeGeneration {
  /**
   * Takes steps without a user's function, `logits` and `accept`, until `done`: as many as let
   * other calls have their turn; where an abort is not seen meanwhile (WebAssembly), one.
   */
  advance(abort: NativeAbortFlag): Promise<void>
  /**
   * The logits of the next token, (rows, num_tokens), after the penalty, before filter and
   * temperature.
   */
  logits(abort: NativeAbortFlag): Promise<NativeTensor>
  logitsSync(): NativeTensor
  /**
   * Chooses the next token of every row from `logits`. `filtered`: a user's function has been at
   * them, in place of `top_k`, `top_p` or `top_a`. Null once the generation is over.
   */
  accept(logits: NativeTensor, filtered: boolean): number[] | null
  /** Whether all tokens are there. */
  done(): boolean
  /** All new tokens so far, in the shape that `generate` gives. */
  tokens(): NativeTensor
  dispose(): void
}

export interface NativeOptimizer {
  /**
   * One step. `groups` is JSON, one object per parameter group in the order of the constructor:
   * `{ "lr", "weight_decay", ... }`.
   */
  step(groups: string, abort: NativeAbortFlag): Promise<void>
  stepSync(groups: string): void
  zeroGrad(): void
  /**
   * The state, named `INDEX.exp_avg`, `INDEX.exp_avg_sq`, `INDEX.step`, `INDEX.momentum_buffer`.
   */
  state(): NativeResult
  /** Puts a state back; `names` is a JSON array, one per tensor. */
  loadState(names: string, tensors: NativeTensor[]): void
  dispose(): void
}

/** How a file of tensors is read. */
export interface ReaderSettings {
  /** In bytes; null where it is not known. */
  size: number | null
  /** Which of several state dicts in a file of PyTorch. */
  key: string | null
  /** Whether values of half precision become f32. */
  widen: boolean
  /** Whether the state of an optimizer is wanted of a file of PyTorch, instead of weights. */
  optimizer: boolean
}

/**
 * A file of tensors (safetensors, PyTorch's zip format) on its way into memory. It asks for bytes
 * and is given them.
 */
export interface NativeReader {
  /**
   * Offset and length of the bytes to read next; null once all have come, and where `needsSize`.
   */
  next(): number[] | null
  /**
   * Whether it goes on only after `setSize`: its directory is at the end. From then on bytes are
   * wanted in any order.
   */
  needsSize(): boolean
  setSize(size: number): void
  /**
   * Takes the bytes that `next` has asked for; fewer where the file ends before. They must not
   * change until it resolves.
   */
  feed(bytes: Uint8Array): Promise<void>
  feedSync(bytes: Uint8Array): void
  /** The tensors, once; JSON `{ "metadata": {...}, "names": [...] }`, one name per tensor. */
  tensors(): Promise<NativeResult>
  tensorsSync(): NativeResult
  /** The model that a checkpoint describes, in place of the tensors. */
  model(device: string): Promise<NativeModule>
  modelSync(device: string): NativeModule
  dispose(): void
}

export interface Native {
  /** Functions, so that no class of the addon leaks into the façade. */
  abortFlag(): NativeAbortFlag
  /**
   * A tensor from bytes in row-major order. `source` says what the bytes are; `dtype` what the
   * tensor becomes.
   * @throws where the number of bytes does not fit the shape
   */
  tensor(
    bytes: Uint8Array,
    source: DType,
    dtype: DType,
    shape: number[],
    device: string,
  ): NativeTensor
  /**
   * A light operation, run at once. `args` is a JSON object. Creation (no inputs; args
   * `shape, dtype, device`):
   * `zeros ones full{value} arange{start,end,step} rand randn randint{low,high}`. Elementwise:
   * `neg exp log sqrt abs tanh sigmoid relu gelu silu logical_not`; with broadcasting, the second
   * input or `{scalar}`: `add sub mul div pow maximum minimum eq ne lt le gt ge`. Reductions
   * `{dims?: number[], keepdim}`: `sum mean max min`; `argmax{dim, keepdim}`. `matmul`,
   * `softmax{dim}`, `log_softmax{dim}`, `cross_entropy{ignore_index}` (logits (.., classes),
   * targets), `mse`, `reshape{shape}`, `permute{dims}`, `slice{dim,start,end}`, `cat{dim}`,
   * `stack{dim}`, `gather{dim}` (x, index), `where` (condition, a, b), `cast{dtype}`,
   * `to_device{device}`, `top_k{thres}`, `top_p{thres}`, `top_a{min_p_pow,min_p_ratio}`.
   */
  op(name: string, inputs: NativeTensor[], args: string, context: ContextJson): NativeTensor
  /** Adds the gradients of `loss` (one element) to its leaves; frees the graph unless `retain`. */
  backward(loss: NativeTensor, retain: boolean, abort: NativeAbortFlag): Promise<void>
  backwardSync(loss: NativeTensor, retain: boolean): void
  /**
   * A model by class name; `{"$module": i}` in the options' JSON stands for `modules[i]`, whose
   * weights it shares.
   */
  construct(
    className: string,
    options: string,
    modules: NativeModule[],
    context: ContextJson,
  ): NativeModule
  /** A file of tensors, read as it is fed; `settings` is JSON of ReaderSettings. */
  reader(settings: string): NativeReader
  /**
   * `kind`: SGD, Adam or AdamW; `groups` is a JSON array: for each group `{ "count", "settings" }`.
   */
  optimizer(kind: string, parameters: NativeTensor[], groups: string): NativeOptimizer
  /** Scales the gradients so that their common norm is at most `max`; gives the norm before. */
  clipGradNorm(parameters: NativeTensor[], max: number, abort: NativeAbortFlag): Promise<number>
  clipGradNormSync(parameters: NativeTensor[], max: number): number
  /** Safetensors bytes of named tensors; `names` and `metadata` (string values) are JSON. */
  writeTensors(names: string, tensors: NativeTensor[], metadata: string): Promise<Uint8Array>
  writeTensorsSync(names: string, tensors: NativeTensor[], metadata: string): Uint8Array
  /**
   * The bytes of a file of PyTorch with the state of an optimizer: `names` as of
   * {@link NativeOptimizer.state}, `groups` a JSON array of the settings of each group, with the
   * places of its parameters (`params`).
   */
  writeOptimizer(
    kind: string,
    names: string,
    tensors: NativeTensor[],
    groups: string,
  ): Promise<Uint8Array>
  writeOptimizerSync(
    kind: string,
    names: string,
    tensors: NativeTensor[],
    groups: string,
  ): Uint8Array
  /**
   * The options of a class (`AdamW`, `Decoder`), a function (`top_k`, `cosineWarmup`) or an
   * interface (`TransformerCall`), as JSON, with the defaults of those that are not given.
   * @throws with code `invalid_options` and every problem
   */
  resolveOptions(name: string, options: string): string
  /**
   * The same for parameter groups: `groups` is a JSON array, each one's own options, which go
   * before the `common` ones. Problems of a group have paths such as `param_groups[1].lr`.
   */
  resolveGroups(name: string, common: string, groups: string): string
  setNumThreads(count: number): void
  /** JSON: `{ "version", "target", "threads", "cuda" }`. */
  info(): string
  /** Bytes of native memory in use by tensors, weights and graphs. */
  memoryHeld(): number
  /** Bytes that threads keep to work with. */
  memoryKept(): number
}

/** What tells which code goes on after an `await`: an AsyncLocalStorage of Node. */
export interface Contexts {
  run<T>(store: unknown, fn: () => T): T
  getStore(): unknown
  /** It costs every promise of the program something, until this. */
  disable(): void
}
