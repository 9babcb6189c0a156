import { describeValue, isRecord, readRecord } from '../checks.js'
import { describe } from '../models/describe.js'
import type { Module } from '../module/module.js'
import type { Optimizer } from './optimizer.js'
import type { ModelInfo } from './run-info.js'

/** Deeper values are told in words: they may contain themselves. */
const MAX_DEPTH = 32

/** A value as JSON has it; what it has no word for in words. */
export function plainOf(value: unknown, depth = 0): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (depth < MAX_DEPTH) {
    if (Array.isArray(value)) return value.map((item) => plainOf(item, depth + 1))
    if (isRecord(value)) {
      const entries = Object.entries(readRecord(value)).filter(([, item]) => item !== undefined)
      return Object.fromEntries(entries.map(([name, item]) => [name, plainOf(item, depth + 1)]))
    }
  }
  return describeValue(value)
}

/** Describes a model of this thread and its optimizer. */
export function modelInfo(model: Module, optimizer: Optimizer<{ lr?: number }>): ModelInfo {
  const { class: name, options, num_parameters } = describe(model)
  const groups = optimizer.param_groups.map(({ params, ...settings }) => ({
    ...(plainOf(settings) as object),
    params: params.length,
  }))
  return {
    model: { class: name, options: plainOf(options) },
    num_parameters,
    device: optimizer.param_groups[0]?.params[0]?.device ?? 'cpu',
    optimizer: { class: optimizer.className, groups },
  }
}
