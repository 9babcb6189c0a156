import { native } from '#native'
import { BRAND, type Brand, brand } from '../brand.js'
import { checkOptions, isRecord, refuse } from '../checks.js'
import { type CallControl, checkSignal } from '../control.js'
import { guarded, XTransformersError } from '../errors.js'
import {
  type Source,
  type SyncSource,
  saveTo,
  saveToSync,
  type Target,
  toBlob,
} from '../io/sources.js'
import { disposeAll, readTensors, readTensorsSync, type TensorFile } from '../io/tensor-files.js'
import { groupsResolver, resolveGroups, resolveOptions } from '../models/options.js'
import { noteTrained } from '../module/reached.js'
import { jsonOf } from '../native/json.js'
import type { NativeOptimizer, NativeTensor } from '../native/native.js'
import { Promises } from '../promises.js'
import { HANDLE, INSPECT } from '../symbols.js'
import { heavy } from '../tensor/calls.js'
import {
  type Gates,
  mergeGates,
  NO_GATES,
  runOrQueue,
  schedule,
  scheduleSync,
} from '../tensor/schedule.js'
import { type Tensor, wrap } from '../tensor/tensor.js'
import { checkParameters, grouped, type ParamGroup, settingsOf } from './groups.js'
import {
  checkGroups,
  type OptimizerState,
  type PyTorchState,
  placed,
  settingsGiven,
} from './saved-state.js'
import {
  formatOf,
  type StateFormat,
  type StateReadOptions,
  type StateSaveOptions,
  stateInFile,
  writeState,
  writeStateSync,
} from './state-files.js'

/** All settings. With `exactOptionalPropertyTypes`, `Required` would leave `undefined` in them. */
type Settings<Options> = { [Name in keyof Options]-?: Exclude<Options[Name], undefined> } & {
  lr: number
}

/** What the optimizers have in common. */
export abstract class Optimizer<Options extends { lr?: number | undefined }> {
  /** The groups with their settings, which may be changed between steps. */
  readonly param_groups: (Settings<Options> & { readonly params: readonly Tensor[] })[]
  readonly #kind: string
  readonly #gates: Gates
  readonly #native: NativeOptimizer
  readonly #resolved: ReturnType<typeof groupsResolver>
  /** Number of parameters in each group. */
  readonly #sizes: readonly number[]

  /** @internal */
  protected constructor(
    kind: string,
    parameters: Iterable<Tensor> | readonly ParamGroup<Options>[],
    options: Options,
  ) {
    this.#kind = kind
    this.#resolved = groupsResolver(kind)
    const groups = grouped<Options>(parameters)
    const settings = resolveGroups(kind, options, groups.map(settingsOf))
    this.param_groups = groups.map(({ params }, i) => ({ ...settings[i], params }) as never)
    const all = groups.flatMap(({ params }) => params)
    checkParameters(all)
    this.#gates = mergeGates(all.map((parameter) => parameter[HANDLE].gates))
    noteTrained(this.#gates)
    this.#sizes = groups.map(({ params }) => params.length)
    const described = jsonOf(
      groups.map(({ params }, i) => ({ count: params.length, settings: settings[i] })),
    )
    const handles = all.map((parameter) => parameter[HANDLE].use())
    this.#native = guarded(() => native.optimizer(kind, handles, described))
  }

  /** @internal The class by the name that checkpoints know. */
  get className(): string {
    return this.#kind
  }

  /** The learning rate of the first group; setting it sets that of every group. */
  get lr(): number {
    return this.param_groups[0]?.lr ?? 0
  }

  set lr(value: number) {
    const { lr } = resolveOptions<{ lr: number }>(this.#kind, { lr: value ?? null } as {
      lr: number
    })
    for (const group of this.param_groups) Object.assign(group, { lr })
  }

  /** The names of the settings. */
  #names(): string[] {
    return Object.keys(settingsOf(this.param_groups[0] as never, 0))
  }

  /** The settings as they are now, checked, as JSON. */
  #groups(): string {
    const [had, has] = [this.#sizes.length, this.param_groups.length]
    if (had === has) return this.#resolved({}, this.param_groups.map(settingsOf))
    throw new XTransformersError(
      'invalid_state',
      `the optimizer was made with ${had} groups of parameters, and param_groups has ${has}: make a new optimizer`,
    )
  }

  /**
   * Changes every parameter that has a gradient and is not frozen, by one step. Settings are taken
   * when the call is made.
   */
  step(options?: CallControl): Promise<void> {
    try {
      const { signal } = checkOptions(options, 'step()', ['signal'])
      const groups = this.#groups()
      return heavy({
        reads: NO_GATES,
        writes: this.#gates,
        signal: checkSignal(signal),
        start: (abort) => this.#native.step(groups, abort),
      })
    } catch (error) {
      return Promises.reject(error)
    }
  }

  /** As {@link step}, at once. */
  stepSync(): void {
    const groups = this.#groups()
    scheduleSync('stepSync()', NO_GATES, this.#gates, () =>
      guarded(() => this.#native.stepSync(groups)),
    )
  }

  /**
   * Clears the gradients: at once, or in its place in the order where calls on the parameters are
   * pending.
   */
  zeroGrad(): void {
    runOrQueue(this.#gates, () => guarded(() => this.#native.zeroGrad()))
  }

  /** Settings and averages, to go on later; the tensors are copies of now. */
  stateDict(): OptimizerState<Settings<Options>> {
    return scheduleSync('stateDict()', this.#gates, NO_GATES, () => this.#state())
  }

  #state(): OptimizerState<Settings<Options>> {
    let at = 0
    // checked, since they may have been changed: a file could not hold a NaN, nor a clone a
    // function
    const settings: object[] = JSON.parse(this.#groups())
    const groups = this.#sizes.map((size, i) => ({
      ...settings[i],
      params: Array.from({ length: size }, () => at++),
    }))
    const { json, tensors } = guarded(() => this.#native.state())
    const names: Record<string, { $tensor: number }> = JSON.parse(json)
    const state = Object.entries(names).map(
      ([name, { $tensor }]) => [name, wrap(tensors[$tensor] as NativeTensor)] as const,
    )
    return { param_groups: groups as never, state: new Map(state) }
  }

  /**
   * Puts back what `stateDict()` gave, or what PyTorch's `state_dict()` has. The groups must be as
   * they were; parameters are known by their order.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where they are not; (`not_available`) for
   *   settings of PyTorch that would change results, such as `amsgrad`; (`busy`) while a call on
   *   the parameters is pending
   */
  loadStateDict(state: OptimizerState<object> | PyTorchState): void {
    if (!isRecord(state)) throw refuse('the state', 'what stateDict() gives', state)
    scheduleSync('loadStateDict()', NO_GATES, this.#gates, () => this.#put(state))
  }

  #put(saved: OptimizerState<object> | PyTorchState): void {
    const { param_groups, state } = saved as Partial<OptimizerState<object>>
    const groups = checkGroups(param_groups, this.#sizes)
    const given = settingsGiven(this.#kind, groups, state, this.#names())
    const merged = given.map((own, i) => ({ ...this.param_groups[i], ...own }))
    const settings = resolveGroups(
      this.#kind,
      {},
      merged.map((group, i) => settingsOf(group as never, i)),
    )
    const { tensors, made } = placed(state, groups)
    try {
      const natives = [...tensors.values()].map((tensor) =>
        tensor[HANDLE].settled('loadStateDict()'),
      )
      guarded(() => this.#native.loadState(jsonOf([...tensors.keys()]), natives, jsonOf(settings)))
    } finally {
      disposeAll(made)
    }
    for (const [i, own] of settings.entries()) Object.assign(this.param_groups[i] as object, own)
  }

  /** The state as the bytes of a file, by default of safetensors. */
  async saveBytes(options: StateSaveOptions = {}): Promise<Uint8Array> {
    return await this.#bytes(formatOf(null, options))
  }

  #bytes(format: StateFormat): Promise<Uint8Array> {
    return schedule(this.#gates, NO_GATES, () => writeState(format, this.#kind, this.#state()))
  }

  /** As {@link saveBytes}, at once. */
  saveBytesSync(options: StateSaveOptions = {}): Uint8Array {
    return this.#bytesSync(formatOf(null, options))
  }

  #bytesSync(format: StateFormat): Uint8Array {
    const write = () => writeStateSync(format, this.#kind, this.#state())
    return scheduleSync('saveBytesSync()', this.#gates, NO_GATES, write)
  }

  /**
   * Writes the state: as PyTorch does where the name ends in `.pt`, `.pth`, `.bin` or `.ckpt`, else
   * as safetensors.
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`); what is in the file then, {@link Target} says
   * @example
   * await optimizer.save('optimizer.pt')
   * // in Python: optimizer.load_state_dict(torch.load('optimizer.pt'))
   */
  async save(target: Target, options: StateSaveOptions = {}): Promise<void> {
    const format = formatOf(target, options)
    await saveTo(target, () => this.#bytes(format))
  }

  /** As {@link save}, at once: to a path (Node). */
  saveSync(path: string, options: StateSaveOptions = {}): void {
    const format = formatOf(path, options)
    saveToSync(path, () => this.#bytesSync(format))
  }

  /** The state as a file in a Blob, by default of safetensors. */
  async saveBlob(options: StateSaveOptions = {}): Promise<Blob> {
    return toBlob(await this.saveBytes(options))
  }

  /**
   * Puts back what `save`, `saveBlob` or `saveBytes` has made, or `torch.save` of the state of
   * PyTorch's optimizer of the same name: alone, or within a checkpoint (`{'model': ...,
   * 'optimizer': optimizer.state_dict()}`). Settings and averages are then those of the file;
   * parameters are known by their order, which is that of `parameters()` in both languages. Later
   * calls on the parameters wait for it.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`); (`not_available`) for settings of
   *   PyTorch that would change results, such as `amsgrad`; the state is then as before
   * @example
   * await model.loadWeights('ckpt.pt')
   * await optimizer.load('ckpt.pt')
   */
  async load(source: Source, given: StateReadOptions = {}): Promise<void> {
    const options = checkOptions(given, 'load()', ['signal', 'on_progress', 'key'])
    const run = async () =>
      this.#restore(await readTensors(source, { ...options, optimizer: true }))
    await schedule(NO_GATES, this.#gates, run, checkSignal(options.signal))
  }

  /**
   * As {@link load}, at once: of a path (Node) or of bytes.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`, `not_available`); (`busy`) while a
   *   call on the parameters is pending
   */
  loadSync(source: SyncSource, given: Pick<StateReadOptions, 'key'> = {}): void {
    const options = checkOptions(given, 'loadSync()', ['key'])
    const file = readTensorsSync(source, { ...options, optimizer: true })
    scheduleSync('loadSync()', NO_GATES, this.#gates, () => this.#restore(file))
  }

  #restore(file: TensorFile): void {
    try {
      this.#put(stateInFile(this.#kind, file, this.#names()))
    } finally {
      disposeAll(file.tensors)
    }
  }

  /** @internal */
  get [BRAND](): Brand {
    return brand(`an optimizer (${this.#kind})`)
  }

  /**
   * What `Object.prototype.toString` says. Frameworks that wrap objects in proxies, such as Vue,
   * leave objects of their own kind alone.
   */
  get [Symbol.toStringTag](): string {
    return 'Optimizer'
  }

  /** The kind, and the settings of each group. */
  toString(): string {
    const group = ({ params, ...settings }: { params: readonly unknown[] }) =>
      `  ${params.length} parameters, ${jsonOf(settings)}`
    return [`${this.#kind}(`, ...this.param_groups.map(group), ')'].join('\n')
  }

  /** @internal */
  [INSPECT](): string {
    return this.toString()
  }

  /** Frees the averages, once the calls made before have ended. The parameters stay. */
  dispose(): void {
    runOrQueue(this.#gates, () => this.#native.dispose())
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}
