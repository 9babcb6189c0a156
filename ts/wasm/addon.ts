import { XTransformersError } from '../errors.js'
import type {
  DType,
  Native,
  NativeAbortFlag,
  NativeGeneration,
  NativeModule,
  NativeOptimizer,
  NativeReader,
  NativeResult,
  NativeTensor,
} from '../native/native.js'
import { yieldToEventLoop } from './event-loop.js'
import type { ExternalMemory } from './external-memory.js'
import type { Glue, Handle, Reply } from './glue.js'
import { Instance, Owned } from './instance.js'

/**
 * The module as the addon that the façade knows. What is asynchronous in Node waits here for its
 * turn and then computes on the thread that it was called on; an abort is seen before that.
 */
export function wasmNative(glue: Glue): Native {
  return new WasmNative(new Instance(glue))
}

class AbortFlag implements NativeAbortFlag {
  aborted = false

  set(): void {
    this.aborted = true
  }
}

/** Runs `run` in its turn. What it needs stays until then, even if the user disposes it. */
async function defer<T>(
  needs: readonly object[],
  run: () => T,
  abort?: NativeAbortFlag,
): Promise<T> {
  const held = needs as readonly Owned[]
  for (const owned of held) owned.hold()
  try {
    await yieldToEventLoop()
    if ((abort as AbortFlag | undefined)?.aborted)
      throw new XTransformersError('aborted', 'aborted')
    return run()
  } finally {
    for (const owned of held) owned.release()
  }
}

const handles = (owned: readonly object[]) =>
  Uint32Array.from(owned as readonly Owned[], ({ handle }) => handle)

class WasmTensor extends Owned implements NativeTensor {
  constructor(instance: Instance, handle: Handle, externalMemory: ExternalMemory | null = null) {
    super(instance, handle, (glue) => glue.tensor_free(handle), externalMemory)
  }

  /** A tensor that `call` makes. */
  static made(instance: Instance, call: (glue: Glue) => Handle): WasmTensor {
    const [handle, externalMemory] = instance.make(call)
    return new WasmTensor(instance, handle, externalMemory)
  }

  shape(): number[] {
    return Array.from(this.run((glue) => glue.tensor_shape(this.handle)))
  }

  dtype(): DType {
    return this.run((glue) => glue.tensor_dtype(this.handle)) as DType
  }

  device(): string {
    return this.run((glue) => glue.tensor_device(this.handle))
  }

  requiresGrad(): boolean {
    return this.run((glue) => glue.tensor_requires_grad(this.handle))
  }

  setRequiresGrad(on: boolean): void {
    this.run((glue) => glue.tensor_set_requires_grad(this.handle, on))
  }

  isLeaf(): boolean {
    return this.run((glue) => glue.tensor_is_leaf(this.handle))
  }

  grad(): NativeTensor | null {
    const grad = this.run((glue) => glue.tensor_grad(this.handle))
    return grad === undefined ? null : new WasmTensor(this.instance, grad)
  }

  setGrad(grad: NativeTensor | null): void {
    this.run((glue) => glue.tensor_set_grad(this.handle, (grad as WasmTensor | null)?.handle))
  }

  assign(source: NativeTensor): void {
    this.run((glue) => glue.tensor_assign(this.handle, (source as WasmTensor).handle))
  }

  moveTo(device: string): void {
    this.run((glue) => glue.tensor_move_to(this.handle, device))
  }

  asLeaf(): NativeTensor {
    return WasmTensor.made(this.instance, (glue) => glue.tensor_as_leaf(this.handle))
  }

  detach(): NativeTensor {
    return WasmTensor.made(this.instance, (glue) => glue.tensor_detach(this.handle))
  }

  data(): Uint8Array {
    return this.run((glue) => glue.tensor_data(this.handle))
  }

  freeLeaf(): void {
    this.run((glue) => glue.tensor_release(this.handle))
  }
}

/** A reply of the module; all that the call has left behind counts for its first tensor. */
function result(instance: Instance, call: (glue: Glue) => Reply, held = 0): NativeResult {
  const [[json, tensors], externalMemory] = instance.make(call, held)
  return {
    json,
    tensors: Array.from(
      tensors,
      (handle, i) => new WasmTensor(instance, handle, i === 0 ? externalMemory : null),
    ),
  }
}

class WasmModule extends Owned implements NativeModule {
  constructor(instance: Instance, handle: Handle) {
    super(instance, handle, (glue) => glue.model_free(handle))
  }

  describe(): string {
    return this.run((glue) => glue.model_describe(this.handle))
  }

  entry(name: string): NativeTensor {
    return new WasmTensor(
      this.instance,
      this.run((glue) => glue.model_entry(this.handle, name)),
    )
  }

  child(name: string): NativeModule {
    return new WasmModule(
      this.instance,
      this.run((glue) => glue.model_child(this.handle, name)),
    )
  }

  train(on: boolean): void {
    this.run((glue) => glue.model_train(this.handle, on))
  }

  to(device: string): void {
    this.run((glue) => glue.model_to(this.handle, device))
  }

  quantize(format: string): void {
    this.run((glue) => glue.model_quantize(this.handle, format))
  }

  quantization(): string | null {
    return this.run((glue) => glue.model_quantization(this.handle)) ?? null
  }

  loadState(names: string, tensors: NativeTensor[], strict: boolean): string {
    return this.run((glue) => glue.model_load_state(this.handle, names, handles(tensors), strict))
  }

  call(
    method: string,
    args: string,
    tensors: NativeTensor[],
    context: string,
    abort: NativeAbortFlag,
  ): Promise<NativeResult> {
    return defer([this, ...tensors], () => this.callSync(method, args, tensors, context), abort)
  }

  callSync(method: string, args: string, tensors: NativeTensor[], context: string): NativeResult {
    return result(this.instance, (glue) =>
      glue.model_call(this.handle, method, args, handles(tensors), context),
    )
  }

  generation(
    method: string,
    args: string,
    tensors: NativeTensor[],
    context: string,
  ): NativeGeneration {
    const start = (glue: Glue) =>
      glue.model_generation(this.handle, method, args, handles(tensors), context)
    return new WasmGeneration(this.instance, this.run(start))
  }

  saveBytes(): Promise<Uint8Array> {
    return defer([this], () => this.saveBytesSync())
  }

  saveBytesSync(): Uint8Array {
    return this.run((glue) => glue.model_save(this.handle))
  }

  freeWeights(names: string): void {
    this.run((glue) => glue.model_release(this.handle, names))
  }
}

class WasmGeneration extends Owned implements NativeGeneration {
  constructor(instance: Instance, handle: Handle) {
    super(instance, handle, (glue) => glue.generation_free(handle))
  }

  advance(abort: NativeAbortFlag): Promise<void> {
    const step = () => {
      const logits = this.logitsSync()
      try {
        this.accept(logits, false)
      } finally {
        logits.dispose()
      }
    }
    return defer([this], step, abort)
  }

  logits(abort: NativeAbortFlag): Promise<NativeTensor> {
    return defer([this], () => this.logitsSync(), abort)
  }

  logitsSync(): NativeTensor {
    return WasmTensor.made(this.instance, (glue) => glue.generation_logits(this.handle))
  }

  accept(logits: NativeTensor, filtered: boolean): number[] | null {
    const row = this.run((glue) =>
      glue.generation_accept(this.handle, (logits as WasmTensor).handle, filtered),
    )
    return row ? Array.from(row) : null
  }

  done(): boolean {
    return this.run((glue) => glue.generation_done(this.handle))
  }

  tokens(): NativeTensor {
    return WasmTensor.made(this.instance, (glue) => glue.generation_tokens(this.handle))
  }
}

class WasmOptimizer extends Owned implements NativeOptimizer {
  constructor(instance: Instance, handle: Handle) {
    super(instance, handle, (glue) => glue.optimizer_free(handle))
  }

  step(groups: string, abort: NativeAbortFlag): Promise<void> {
    return defer([this], () => this.stepSync(groups), abort)
  }

  stepSync(groups: string): void {
    this.run((glue) => glue.optimizer_step(this.handle, groups))
  }

  zeroGrad(): void {
    this.run((glue) => glue.optimizer_zero_grad(this.handle))
  }

  state(): NativeResult {
    return result(this.instance, (glue) => glue.optimizer_state(this.handle))
  }

  loadState(names: string, tensors: NativeTensor[]): void {
    this.run((glue) => glue.optimizer_load_state(this.handle, names, handles(tensors)))
  }
}

class WasmReader extends Owned implements NativeReader {
  /** Bytes that its tensors take already. */
  #held = 0

  constructor(instance: Instance, handle: Handle) {
    super(instance, handle, (glue) => glue.reader_free(handle))
  }

  next(): number[] | null {
    const range = this.run((glue) => glue.reader_next(this.handle))
    return range ? Array.from(range) : null
  }

  needsSize(): boolean {
    return this.run((glue) => glue.reader_needs_size(this.handle))
  }

  setSize(size: number): void {
    this.run((glue) => glue.reader_set_size(this.handle, size))
  }

  feed(bytes: Uint8Array): Promise<void> {
    return defer([this], () => this.feedSync(bytes))
  }

  feedSync(bytes: Uint8Array): void {
    this.instance.requireMemory(bytes.length, 'reading the file')
    const [, grown] = this.instance.measure((glue) => glue.reader_feed(this.handle, bytes))
    this.#held += grown
  }

  tensors(): Promise<NativeResult> {
    return defer([this], () => this.tensorsSync())
  }

  tensorsSync(): NativeResult {
    return result(this.instance, (glue) => glue.reader_tensors(this.handle), this.#held)
  }

  model(device: string): Promise<NativeModule> {
    return defer([this], () => this.modelSync(device))
  }

  modelSync(device: string): NativeModule {
    return new WasmModule(
      this.instance,
      this.run((glue) => glue.reader_model(this.handle, device)),
    )
  }
}

class WasmNative implements Native {
  constructor(private readonly instance: Instance) {}

  abortFlag(): NativeAbortFlag {
    return new AbortFlag()
  }

  tensor(
    bytes: Uint8Array,
    source: DType,
    dtype: DType,
    shape: number[],
    device: string,
  ): NativeTensor {
    this.instance.requireMemory(2 * bytes.length, 'the tensor')
    const make = (glue: Glue) => glue.tensor(bytes, source, dtype, Float64Array.from(shape), device)
    return WasmTensor.made(this.instance, make)
  }

  op(name: string, inputs: NativeTensor[], args: string, context: string): NativeTensor {
    return WasmTensor.made(this.instance, (glue) => glue.op(name, handles(inputs), args, context))
  }

  backward(loss: NativeTensor, retain: boolean, abort: NativeAbortFlag): Promise<void> {
    return defer([loss], () => this.backwardSync(loss, retain), abort)
  }

  backwardSync(loss: NativeTensor, retain: boolean): void {
    this.instance.run((glue) => glue.backward((loss as WasmTensor).handle, retain))
  }

  construct(
    className: string,
    options: string,
    modules: NativeModule[],
    context: string,
  ): NativeModule {
    const make = (glue: Glue) => glue.construct(className, options, handles(modules), context)
    return new WasmModule(this.instance, this.instance.run(make))
  }

  reader(settings: string): NativeReader {
    const handle = this.instance.run((glue) => glue.reader(settings))
    return new WasmReader(this.instance, handle)
  }

  optimizer(kind: string, parameters: NativeTensor[], groups: string): NativeOptimizer {
    const make = (glue: Glue) => glue.optimizer(kind, handles(parameters), groups)
    return new WasmOptimizer(this.instance, this.instance.run(make))
  }

  clipGradNorm(parameters: NativeTensor[], max: number, abort: NativeAbortFlag): Promise<number> {
    return defer(parameters, () => this.clipGradNormSync(parameters, max), abort)
  }

  clipGradNormSync(parameters: NativeTensor[], max: number): number {
    return this.instance.run((glue) => glue.clip_grad_norm(handles(parameters), max))
  }

  writeTensors(names: string, tensors: NativeTensor[], metadata: string): Promise<Uint8Array> {
    return defer(tensors, () => this.writeTensorsSync(names, tensors, metadata))
  }

  writeTensorsSync(names: string, tensors: NativeTensor[], metadata: string): Uint8Array {
    return this.instance.run((glue) => glue.write_tensors(names, handles(tensors), metadata))
  }

  writeOptimizer(
    kind: string,
    names: string,
    tensors: NativeTensor[],
    groups: string,
  ): Promise<Uint8Array> {
    return defer(tensors, () => this.writeOptimizerSync(kind, names, tensors, groups))
  }

  writeOptimizerSync(
    kind: string,
    names: string,
    tensors: NativeTensor[],
    groups: string,
  ): Uint8Array {
    return this.instance.run((glue) => glue.write_optimizer(kind, names, handles(tensors), groups))
  }

  resolveOptions(name: string, options: string): string {
    return this.instance.run((glue) => glue.resolve_options(name, options))
  }

  resolveGroups(name: string, common: string, groups: string): string {
    return this.instance.run((glue) => glue.resolve_groups(name, common, groups))
  }

  setNumThreads(_count: number): void {
    throw new XTransformersError(
      'not_available',
      'the number of threads is set when WebAssembly starts: spawn({ threads }) of x-transformers/worker',
    )
  }

  info(): string {
    return this.instance.run((glue) => glue.info())
  }

  memoryHeld(): number {
    return this.instance.run((glue) => glue.memory_held())
  }

  memoryKept(): number {
    return this.instance.run((glue) => glue.memory_kept())
  }
}
