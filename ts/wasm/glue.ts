/**
 * What wasm-bindgen generates from crates/wasm: functions over handles, which are numbers. Errors
 * arrive as `Error` whose message is JSON, as native.ts says. Modules and memories are `object`s:
 * published types must not need those of the DOM.
 */
export interface Glue {
  /** Makes the instance, once. `memory`: of the threads' build, which imports it. */
  initSync(settings: { module: object; memory?: object; thread_stack_size?: number }): {
    memory: WasmMemory
  }

  tensor(
    bytes: Uint8Array,
    source: string,
    dtype: string,
    shape: Float64Array,
    device: string,
  ): Handle
  tensor_shape(tensor: Handle): Float64Array
  tensor_dtype(tensor: Handle): string
  tensor_device(tensor: Handle): string
  tensor_requires_grad(tensor: Handle): boolean
  tensor_set_requires_grad(tensor: Handle, on: boolean): void
  tensor_is_leaf(tensor: Handle): boolean
  tensor_grad(tensor: Handle): Handle | undefined
  tensor_set_grad(tensor: Handle, grad?: Handle): void
  tensor_assign(tensor: Handle, source: Handle): void
  tensor_move_to(tensor: Handle, device: string): void
  tensor_as_leaf(tensor: Handle): Handle
  tensor_detach(tensor: Handle): Handle
  tensor_data(tensor: Handle): Uint8Array
  tensor_release(tensor: Handle): void
  tensor_free(tensor: Handle): void

  model_describe(model: Handle): string
  model_entry(model: Handle, name: string): Handle
  model_child(model: Handle, name: string): Handle
  model_train(model: Handle, on: boolean): void
  model_to(model: Handle, device: string): void
  model_quantize(model: Handle, format: string): void
  model_quantization(model: Handle): string | undefined
  model_load_state(model: Handle, names: string, tensors: Uint32Array, strict: boolean): string
  model_call(
    model: Handle,
    method: string,
    args: string,
    tensors: Uint32Array,
    context: string,
  ): Reply
  model_generation(
    model: Handle,
    method: string,
    args: string,
    tensors: Uint32Array,
    context: string,
  ): Handle
  model_save(model: Handle): Uint8Array
  model_release(model: Handle, names: string): void
  model_free(model: Handle): void

  generation_logits(generation: Handle): Handle
  generation_accept(generation: Handle, logits: Handle, filtered: boolean): Float64Array | undefined
  generation_done(generation: Handle): boolean
  generation_tokens(generation: Handle): Handle
  generation_free(generation: Handle): void

  optimizer_step(optimizer: Handle, groups: string): void
  optimizer_zero_grad(optimizer: Handle): void
  optimizer_state(optimizer: Handle): Reply
  optimizer_load_state(optimizer: Handle, names: string, tensors: Uint32Array): void
  optimizer_free(optimizer: Handle): void

  reader(settings: string): Handle
  reader_next(reader: Handle): Float64Array | undefined
  reader_needs_size(reader: Handle): boolean
  reader_set_size(reader: Handle, size: number): void
  reader_feed(reader: Handle, bytes: Uint8Array): void
  reader_tensors(reader: Handle): Reply
  reader_model(reader: Handle, device: string): Handle
  reader_free(reader: Handle): void

  op(name: string, inputs: Uint32Array, args: string, context: string): Handle
  backward(loss: Handle, retain: boolean): void
  construct(className: string, options: string, modules: Uint32Array, context: string): Handle
  optimizer(kind: string, parameters: Uint32Array, groups: string): Handle
  clip_grad_norm(parameters: Uint32Array, max: number): number
  write_tensors(names: string, tensors: Uint32Array, metadata: string): Uint8Array
  write_optimizer(kind: string, names: string, tensors: Uint32Array, groups: string): Uint8Array
  resolve_options(name: string, options: string): string
  resolve_groups(name: string, common: string, groups: string): string
  info(): string
  memory_held(): number
  memory_kept(): number
  memory_available(): number
  last_words(): string | undefined
  failed_allocation(): number
}

/** Of the build with threads. */
export interface ThreadsGlue extends Glue {
  /** Runs one of the pool's threads on the calling Worker; does not return. */
  run_thread(): void
  start_threads(count: number): void
}

/** What stands for an object of the module. */
export type Handle = number

/** JSON, and the tensors that it speaks of. */
export type Reply = [json: string, tensors: Uint32Array]

/** A `WebAssembly.Memory`. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike
}
