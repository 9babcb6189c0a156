import { native } from '#native'
import { type CallControl, checkSignal, heavy } from '../calls.js'
import { describe } from '../data.js'
import { guarded, problemsError, XTransformersError } from '../errors.js'
import { files, readBytes, readBytesSync, readTensorBytes, type Source, writeTensorBytes } from '../files.js'
import type { NativeOptimizer, NativeTensor } from '../native.js'
import { type Rules, validate } from '../rules.js'
import { type Gates, mergeGates, NO_GATES, schedule, scheduleSoon, scheduleSync } from '../schedule.js'
import { HANDLE } from '../symbols.js'
import { checkTensor, Tensor, wrap } from '../tensor.js'

/** Parameters that share their settings; what is not set here comes from the optimizer's options. */
export type ParamGroup<Options> = Options & { params: readonly Tensor[] }

/** Settings of a group in {@link OptimizerState}: its parameters are known by their place. */
export type SavedGroup<Options> = Options & { params: number[] }

/** What an optimizer knows beyond the parameters. */
export interface OptimizerState<Options = Record<string, unknown>> {
  param_groups: SavedGroup<Options>[]
  /** By name: `INDEX.exp_avg`, `INDEX.exp_avg_sq`, `INDEX.step`, `INDEX.momentum_buffer`, with the parameter's place. */
  state: Map<string, Tensor>
}

type Settings<Options> = Required<Options> & { lr: number }

/** What the optimizers have in common. */
export abstract class Optimizer<Options extends { lr?: number }> {
  /** The groups with their settings, which may be changed between steps. */
  readonly param_groups: (Settings<Options> & { readonly params: readonly Tensor[] })[]
  readonly #kind: string
  readonly #rules: Rules
  readonly #parameters: Tensor[]
  readonly #gates: Gates
  #native: NativeOptimizer
  /** What the native optimizer was made with; a parameter of the user's own may have been replaced since. */
  #handles: (NativeTensor | null)[]

  /** @internal */
  protected constructor(
    kind: string,
    rules: Rules,
    parameters: Iterable<Tensor> | readonly ParamGroup<Options>[],
    options: Options,
  ) {
    this.#kind = kind
    this.#rules = rules
    const defaults = { ...Object.fromEntries(Object.entries(rules).map(([k, r]) => [k, r.default])), ...given(options) }
    const problems = validate(rules, given(options), '')
    const groups = grouped<Options>(parameters)
    for (const [i, { params: _, ...own }] of groups.entries()) {
      problems.push(...validate(rules, given(own), `param_groups[${i}].`, defaults))
    }
    if (problems.length > 0) throw problemsError(`${kind} cannot be made with these options`, problems)
    this.param_groups = groups.map(({ params, ...own }) => ({ ...defaults, ...given(own), params }) as never)
    this.#parameters = groups.flatMap(({ params }) => params)
    checkParameters(this.#parameters)
    this.#gates = mergeGates(this.#parameters.map((p) => p[HANDLE].gates))
    this.#handles = this.#parameters.map((p) => p[HANDLE].use())
    this.#native = this.#make(this.#handles as NativeTensor[])
  }

  #make(handles: NativeTensor[]): NativeOptimizer {
    const sizes = JSON.stringify(this.param_groups.map(({ params }) => params.length))
    return guarded(() => native.optimizer(this.#kind, handles, sizes))
  }

  /** The native optimizer for the parameters as they are now. */
  #current(): NativeOptimizer {
    const handles = this.#parameters.map((p) => (p[HANDLE].disposed ? null : p[HANDLE].use()))
    if (handles.every((handle, i) => handle === null || handle === this.#handles[i])) return this.#native
    const whole = handles.filter((handle) => handle !== null)
    if (whole.length < handles.length)
      throw new XTransformersError('disposed', 'a parameter of this optimizer was disposed')
    const { json, tensors } = this.#native.state()
    const next = this.#make(whole)
    guarded(() => next.loadState(JSON.stringify(Object.keys(JSON.parse(json))), tensors))
    this.#native.dispose()
    this.#native = next
    this.#handles = whole
    return next
  }

  /** The learning rate of the first group; setting it sets that of every group. */
  get lr(): number {
    return this.param_groups[0]?.lr ?? 0
  }

  set lr(value: number) {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
      throw new XTransformersError('invalid_argument', `lr must be a number from 0, got ${describe(value)}`)
    }
    for (const group of this.param_groups) group.lr = value
  }

  /** The settings as they are now, for the native side. */
  #groups(): string {
    const groups = this.param_groups.map(({ params: _, ...settings }) => settings as Record<string, unknown>)
    const problems = groups.flatMap((group, i) => validate(this.#rules, given(group), `param_groups[${i}].`))
    if (problems.length > 0) throw problemsError('the settings of this step are not valid', problems)
    return JSON.stringify(groups)
  }

  /** Changes every parameter that has a gradient, by one step. Settings are taken when the call is made. */
  step({ signal }: CallControl = {}): Promise<void> {
    try {
      const groups = this.#groups()
      return heavy({
        reads: NO_GATES,
        writes: this.#gates,
        signal: checkSignal(signal),
        start: (abort) => this.#current().step(groups, abort),
      })
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** As {@link step}, at once. */
  stepSync(): void {
    const groups = this.#groups()
    scheduleSync('stepSync()', NO_GATES, this.#gates, () => guarded(() => this.#current().stepSync(groups)))
  }

  /** Clears the gradients: at once, or in its place in the order where calls on the parameters are pending. */
  zeroGrad(): void {
    scheduleSoon(this.#gates, () => guarded(() => this.#current().zeroGrad()))
  }

  /** Settings and averages, to go on later; the tensors are copies of now. */
  stateDict(): OptimizerState<Settings<Options>> {
    return scheduleSync('stateDict()', this.#gates, NO_GATES, () => this.#state())
  }

  #state(): OptimizerState<Settings<Options>> {
    let at = 0
    const groups = this.param_groups.map(({ params, ...settings }) => ({
      ...structuredClone(settings),
      params: params.map(() => at++),
    }))
    const { json, tensors } = guarded(() => this.#current().state())
    const names: Record<string, { $tensor: number }> = JSON.parse(json)
    const state = Object.entries(names).map(
      ([name, { $tensor }]) => [name, wrap(tensors[$tensor] as NativeTensor)] as const,
    )
    return { param_groups: groups as never, state: new Map(state) }
  }

  /**
   * Puts back what `stateDict()` gave. The groups must be as they were.
   *
   * @throws XTransformersError (`invalid_checkpoint`) where they are not; (`busy`) while a call on the parameters is pending
   */
  loadStateDict({ param_groups, state }: OptimizerState<object>): void {
    const sizes = (groups: readonly { params: readonly unknown[] }[]) =>
      String(groups.map(({ params }) => params.length))
    if (!Array.isArray(param_groups) || sizes(param_groups) !== sizes(this.param_groups)) {
      throw new XTransformersError('invalid_checkpoint', 'the state is of an optimizer with other groups of parameters')
    }
    const settings = param_groups.map(({ params: _, ...own }) => own as Record<string, unknown>)
    const problems = settings.flatMap((own, i) => validate(this.#rules, own, `param_groups[${i}].`))
    if (problems.length > 0) throw problemsError('the state does not fit this optimizer', problems)
    scheduleSync('loadStateDict()', NO_GATES, this.#gates, () => {
      const tensors = [...state.values()].map((tensor) => checkTensor(tensor, 'the state')[HANDLE].use())
      guarded(() => this.#current().loadState(JSON.stringify([...state.keys()]), tensors))
      for (const [i, own] of settings.entries()) Object.assign(this.param_groups[i] as object, own)
    })
  }

  #bytes(): Uint8Array {
    const { param_groups, state } = this.#state()
    const bytes = writeTensorBytes(state, { optimizer: this.#kind, param_groups: JSON.stringify(param_groups) })
    for (const tensor of state.values()) tensor.dispose()
    return bytes
  }

  /** The state as the bytes of a safetensors file. */
  saveBytes(): Promise<Uint8Array> {
    return schedule(this.#gates, NO_GATES, () => this.#bytes())
  }

  /** As {@link saveBytes}, at once. */
  saveBytesSync(): Uint8Array {
    return scheduleSync('saveBytesSync()', this.#gates, NO_GATES, () => this.#bytes())
  }

  /** Writes the state as safetensors (a temporary file, then a rename). */
  async save(path: string): Promise<void> {
    const store = files()
    await store.write(path, await this.saveBytes())
  }

  /** As {@link save}, at once. */
  saveSync(path: string): void {
    files().writeSync(path, this.saveBytesSync())
  }

  /**
   * Puts back what `save` or `saveBytes` has made.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`); (`busy`) while a call on the parameters is pending
   */
  async load(source: Source): Promise<void> {
    this.#restore(await readBytes(source))
  }

  /** As {@link load}, at once. */
  loadSync(source: Source): void {
    this.#restore(readBytesSync(source))
  }

  #restore(bytes: Uint8Array): void {
    const { metadata, tensors } = readTensorBytes(bytes)
    if (metadata.optimizer !== this.#kind || metadata.param_groups === undefined) {
      const found = metadata.optimizer ? `that of ${metadata.optimizer}` : 'no optimizer state'
      throw new XTransformersError('invalid_checkpoint', `this is ${found}, not the state of ${this.#kind}`)
    }
    this.loadStateDict({ param_groups: JSON.parse(metadata.param_groups), state: tensors })
    for (const tensor of tensors.values()) tensor.dispose()
  }

  /** Frees the averages, once the calls made before have ended. The parameters stay. */
  dispose(): void {
    scheduleSoon(this.#gates, () => this.#native.dispose())
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Without the options that are `undefined`: they are absent. */
function given(options: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined))
}

function grouped<Options>(parameters: Iterable<Tensor> | readonly ParamGroup<Options>[]): ParamGroup<Options>[] {
  const list: unknown[] = typeof parameters === 'object' && Symbol.iterator in parameters ? [...parameters] : []
  if (list.length === 0) {
    throw new XTransformersError(
      'invalid_argument',
      'an optimizer needs parameters: model.parameters(), or groups [{ params, lr }]',
    )
  }
  if (list.every((item) => item instanceof Tensor)) return [{ params: list } as never]
  return list.map((item, i) => {
    const { params } = (item ?? {}) as { params?: unknown }
    if (item instanceof Tensor || !Array.isArray(params)) {
      throw new XTransformersError(
        'invalid_argument',
        `param_groups[${i}] must be an object { params: Tensor[], ... }, like every group`,
      )
    }
    return { ...(item as object), params: [...params] } as never
  })
}

function checkParameters(parameters: readonly Tensor[]): void {
  const seen = new Set<Tensor>()
  for (const [i, parameter] of parameters.entries()) {
    const { live } = checkTensor(parameter, `parameter ${i}`)[HANDLE]
    if (!live || !parameter.requires_grad) {
      throw new XTransformersError('invalid_argument', `parameter ${i} must be a leaf that requires a gradient`)
    }
    if (seen.has(parameter)) throw new XTransformersError('invalid_argument', `parameter ${i} was given twice`)
    seen.add(parameter)
  }
}
