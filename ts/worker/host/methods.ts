/** The methods of models and optimizers that the page can call. */

import { checkOptions, describeValue as inWords, isPlain } from '../../checks.js'
import { XTransformersError } from '../../errors.js'
import type { Target } from '../../io/sources.js'
import { describe } from '../../models/describe.js'
import type { NativeModel } from '../../models/native-model.js'
import { resolveGroups } from '../../models/options.js'
import { Stepwise } from '../../models/stepwise.js'
import { patternOf, type WirePattern } from '../../module/patterns.js'
import type { LoadStateOptions } from '../../module/state.js'
import { noGrad } from '../../tensor/grad-mode.js'
import type { EMA } from '../../train/ema.js'
import type { LoRA } from '../../train/lora.js'
import type { StateSaveOptions } from '../../train/state-files.js'
import type { Call } from './call.js'
import { sourceOf } from './objects.js'
import type { AnyOptimizer } from './table.js'

/** The last argument with the call's signal in it. */
function withSignal(args: readonly unknown[], { abortable, signal }: Call): unknown[] {
  if (!abortable) return [...args]
  const last = args.at(-1)
  const named = typeof last === 'object' && last !== null && isPlain(last)
  return named ? [...args.slice(0, -1), { ...last, signal }] : [...args, { signal }]
}

export type Method<T> = (object: T, args: readonly unknown[], call: Call) => unknown

function computing(name: 'forward' | 'generate' | 'score'): Method<NativeModel> {
  return (model, args, call) => {
    const method = (model as unknown as Record<string, unknown>)[name]
    if (typeof method !== 'function') {
      throw new XTransformersError('invalid_argument', `a ${model.className} has no ${name}()`)
    }
    // nobody could go back through a copy
    return noGrad(() => method.apply(model, withSignal(args, call)))
  }
}

function cacheable(model: NativeModel): unknown {
  if (model instanceof Stepwise) return model.cacheable
  throw new XTransformersError(
    'invalid_argument',
    `a ${model.className} does not generate step by step`,
  )
}

/** The methods of models that do not just take what the page has given. */
const MODEL_METHODS: Record<string, Method<NativeModel>> = {
  forward: computing('forward'),
  generate: computing('generate'),
  score: computing('score'),
  describe: (model) => describe(model),
  cacheable,
  freeze: (model, [pattern]) => model.freeze(patternOf(pattern as WirePattern)),
  unfreeze: (model, [pattern]) => model.unfreeze(patternOf(pattern as WirePattern)),
  loadWeights: (model, [source, options], { id, signal, send }) =>
    model.loadWeights(Array.isArray(source) ? source.map(sourceOf) : sourceOf(source), {
      ...(options as LoadStateOptions),
      signal,
      on_progress: (progress) => send({ type: 'progress', id, progress }),
    }),
}

/**
 * The method of models with this name. Those that are not in the table are the class's own, or its
 * properties; where they return the model there is no result.
 */
export function modelMethod(name: string): Method<NativeModel> {
  if (Object.hasOwn(MODEL_METHODS, name)) return MODEL_METHODS[name] as Method<NativeModel>
  return (model, args) => {
    const member = (model as unknown as Record<string, unknown>)[name]
    if (member === undefined) {
      throw new XTransformersError(
        'internal',
        `a ${model.className} of the worker has no ${name}: page and worker are of different versions`,
      )
    }
    const result = typeof member === 'function' ? member.apply(model, args) : member
    return result === model ? undefined : result
  }
}

export const OPTIMIZER_METHODS: Record<
  string,
  Method<{ optimizer: AnyOptimizer; kind: string }>
> = {
  setOptions: ({ optimizer, kind }, [options, group]) =>
    setOptions(optimizer, kind, options as object, group),
  zeroGrad: ({ optimizer }) => optimizer.zeroGrad(),
  saveBytes: ({ optimizer }, [options]) => optimizer.saveBytes(options as StateSaveOptions),
  save: ({ optimizer }, [target, options]) =>
    optimizer.save(target as Target, options as StateSaveOptions),
  load: async ({ optimizer }, [source, options]) => {
    await optimizer.load(sourceOf(source), options as { key?: string })
    return optimizer.lr
  },
}

/** Methods of one object, each with the arguments of the page. */
type Methods = Record<string, (args: readonly unknown[]) => unknown>

export const emaMethods = (ema: EMA): Methods => ({
  updates: () => ema.updates,
  update: () => ema.update(),
  apply: () => ema.apply(),
  restore: () => ema.restore(),
  copyTo: () => ema.copyTo(),
  saveBytes: () => ema.saveBytes(),
  save: ([target]) => ema.save(target as Target),
  load: ([source]) => ema.load(sourceOf(source)),
})

export const loraMethods = (lora: LoRA): Methods => ({
  describe: () => ({ modules: lora.modules, r: lora.r, scale: lora.scale }),
  merge: () => lora.merge(),
  remove: () => lora.remove(),
  saveBytes: () => lora.saveBytes(),
  save: ([target]) => lora.save(target as Target),
  load: ([source]) => lora.load(sourceOf(source)),
})

function setOptions(optimizer: AnyOptimizer, kind: string, given: object, group: unknown): void {
  const options = checkOptions(given, 'setOptions()')
  const { param_groups: groups } = optimizer
  if (group !== undefined && group !== null && groups[group as number] === undefined) {
    throw new XTransformersError(
      'invalid_argument',
      `there is no group ${inWords(group)}; there are ${groups.length}`,
    )
  }
  const chosen = groups.filter((_, i) => group === undefined || group === null || group === i)
  const settings = resolveGroups<object>(
    kind,
    {},
    chosen.map(({ params: _, ...now }): object => ({ ...now, ...options })),
  )
  for (const [i, own] of settings.entries()) Object.assign(chosen[i] as object, own)
}
