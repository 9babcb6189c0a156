import type { Module, Tensor } from 'x-transformers'
import { build, exported, fromTensor, type ModelSpec, toTensor, toTensors } from './build.js'
import { type Comparison, compare, compareNames, type Observer } from './compare.js'
import { part, type Stored } from './safetensors.js'

interface Call {
  model?: string
  method?: string
  function?: string
  args: unknown[]
  kwargs: Record<string, unknown>
  returns: Returns
}

type Returns = string | null | Returns[]

/** A recorded case; test/golden/README.md says what the fields mean. */
export interface Case {
  case: string
  models: Record<string, ModelSpec>
  calls: Call[]
  objective: { out: string; cot: string | null }[] | null
  tensors: Record<string, { dtype: string; shape: number[] }>
  tolerance: { out: number; out_floor: number; grad: number; grad_floor: number }
}

type Output = Tensor | Tensor[]
type Outputs = Map<string, Output>

interface Intermediates {
  hiddens: Tensor[]
  attn_intermediates: { pre_softmax_attn: Tensor; post_softmax_attn: Tensor }[]
}

function makeInputs(spec: Case, data: Map<string, Stored>): Map<string, Tensor> {
  const inputs = new Map<string, Tensor>()
  for (const [name, stored] of part(data, 'in.')) {
    const bool = spec.tensors[`in.${name}`]?.dtype === 'bool'
    inputs.set(name, toTensor(stored, { bool, requires_grad: data.has(`grad_in.${name}`) }))
  }
  return inputs
}

/** With several models, their names are prefixes of the parameter names. */
const prefixOf = (spec: Case, model: string) =>
  Object.keys(spec.models).length === 1 ? '' : `${model}.`

/** How a recording of other models becomes one of ours. */
export interface Adapter {
  /** The model of ours. */
  model(spec: ModelSpec): ModelSpec
  /** Gives a model the recorded weights. */
  load(model: Module, weights: Map<string, Tensor>, spec: ModelSpec): void
  /** The gradients of the recorded weights, after those of the model have been computed. */
  gradients(
    model: Module,
    weights: Map<string, Stored>,
    spec: ModelSpec,
  ): Promise<Map<string, Tensor>>
  /** What is compared of an output; absent: all of it. */
  output?(name: string, stored: Stored): Stored
}

/** Recordings of the same models. */
const SAME: Adapter = {
  model: (spec) => spec,
  load: (model, weights) => void model.loadStateDict(weights, { strict: true }),
  gradients: async (model) => gradients(model.namedParameters()),
}

const weightsOf = (spec: Case, data: Map<string, Stored>, name: string) =>
  part(data, `param.${prefixOf(spec, name)}`)

function makeModels(spec: Case, data: Map<string, Stored>, as: Adapter): Map<string, Module> {
  const models = new Map<string, Module>()
  for (const [name, model] of Object.entries(spec.models)) {
    const built = build(as.model(model))
    as.load(built, toTensors(weightsOf(spec, data, name)), model)
    models.set(name, built.eval())
  }
  return models
}

function find<T>(map: Map<string, T>, name: string): T {
  const value = map.get(name)
  if (value === undefined) throw new Error(`the case speaks of ${name}, which is not there`)
  return value
}

/**
 * An argument: a value, or a reference to an input, to an earlier output, or to a filter, which is
 * given by its name here.
 */
function resolve(value: unknown, inputs: Map<string, Tensor>, outputs: Outputs): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { $in, $out, $function } = value as Record<string, string | undefined>
  if ($in !== undefined) return find(inputs, $in)
  if ($out !== undefined) return find(outputs, $out)
  if ($function !== undefined) return $function
  if (Array.isArray(value)) return value.map((item) => resolve(item, inputs, outputs))
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([key, item]) => [key, resolve(item, inputs, outputs)]))
}

/** Stores a call's result under the names in its template. */
function store(template: Returns, value: unknown, outputs: Outputs): void {
  if (template === null) return
  if (Array.isArray(template)) {
    const values = value as unknown[]
    if (!Array.isArray(value) || values.length !== template.length) {
      throw new Error(`a call gives ${template.length} values in Python, and did not here`)
    }
    for (const [i, name] of template.entries()) store(name, values[i], outputs)
  } else if (template.endsWith('.@')) {
    const base = template.slice(0, -2)
    const { hiddens, attn_intermediates } = value as Intermediates
    outputs.set(`${base}.hiddens.*`, hiddens)
    for (const key of ['pre_softmax_attn', 'post_softmax_attn'] as const) {
      outputs.set(
        `${base}.${key}.*`,
        attn_intermediates.map((layer) => layer[key]),
      )
    }
  } else {
    outputs.set(template, value as Output)
  }
}

async function makeCalls(
  spec: Case,
  inputs: Map<string, Tensor>,
  models: Map<string, Module>,
): Promise<Outputs> {
  const outputs: Outputs = new Map()
  for (const call of spec.calls) {
    const args = call.args.map((arg) => resolve(arg, inputs, outputs))
    const entries = Object.entries(call.kwargs).map(([key, value]) => [
      key,
      resolve(value, inputs, outputs),
    ])
    if (entries.length) args.push(Object.fromEntries(entries))
    const owner = call.function ? undefined : find(models, call.model ?? '')
    const callee = owner
      ? (owner as unknown as Record<string, unknown>)[call.method ?? '']
      : exported(call.function ?? '')
    if (typeof callee !== 'function')
      throw new Error(`there is no ${call.function ?? `${call.model}.${call.method}`} to call`)
    store(call.returns, await callee.apply(owner, args), outputs)
  }
  return outputs
}

/** `mems.*`, a list, becomes `mems.0`, `mems.1`, ... */
function flat(outputs: Outputs): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>()
  for (const [name, value] of outputs) {
    if (!Array.isArray(value)) tensors.set(name, value)
    else
      for (const [i, tensor] of value.entries()) tensors.set(name.replace(/\*$/, String(i)), tensor)
  }
  return tensors
}

/** The scalar whose gradients were recorded. */
function objective(spec: Case, data: Map<string, Stored>, outputs: Map<string, Tensor>): Tensor {
  const terms = (spec.objective ?? []).map(({ out, cot }) => {
    const value = find(outputs, out)
    return cot === null ? value : value.mul(toTensor(find(data, cot))).sum()
  })
  return terms.reduce((total, term) => total.add(term))
}

async function compareAll(
  prefix: string,
  got: Map<string, Tensor>,
  want: Map<string, Stored>,
  tolerance: number,
  floor: number,
  observe: Observer,
  only = (_name: string, stored: Stored) => stored,
): Promise<Comparison[]> {
  const comparisons = [compareNames(`the set of ${prefix}*`, got.keys(), want.keys())]
  for (const [key, stored] of want) {
    const [name, tensor] = [`${prefix}${key}`, got.get(key)]
    if (!tensor) continue
    const value = await fromTensor(tensor)
    observe(name, value)
    comparisons.push(compare(name, only(key, value), only(key, stored), tolerance, floor))
  }
  return comparisons
}

function gradients(tensors: Iterable<[string, Tensor]>): Map<string, Tensor> {
  const found = new Map<string, Tensor>()
  for (const [name, tensor] of tensors) if (tensor.grad) found.set(name, tensor.grad)
  return found
}

async function parameterGradients(
  spec: Case,
  data: Map<string, Stored>,
  models: Map<string, Module>,
  as: Adapter,
): Promise<Map<string, Tensor>> {
  const found = new Map<string, Tensor>()
  for (const [name, model] of models) {
    const weights = weightsOf(spec, data, name)
    const own = await as.gradients(model, weights, spec.models[name] as ModelSpec)
    for (const [key, gradient] of own) found.set(prefixOf(spec, name) + key, gradient)
  }
  return found
}

/**
 * Builds the models, makes the calls, and compares outputs and gradients with the recorded ones.
 */
export async function runCase(
  spec: Case,
  data: Map<string, Stored>,
  observe: Observer,
  as: Adapter = SAME,
): Promise<Comparison[]> {
  const { out, out_floor, grad, grad_floor } = spec.tolerance
  const inputs = makeInputs(spec, data)
  const models = makeModels(spec, data, as)
  const outputs = flat(await makeCalls(spec, inputs, models))
  const recorded = part(data, 'out.')
  const comparisons = await compareAll(
    'out.',
    outputs,
    recorded,
    out,
    out_floor,
    observe,
    as.output,
  )
  if (!spec.objective) return comparisons
  await objective(spec, data, outputs).backward()
  for (const [prefix, found] of [
    ['grad.', await parameterGradients(spec, data, models, as)],
    ['grad_in.', gradients(inputs)],
  ] as const) {
    const want = part(data, prefix)
    comparisons.push(...(await compareAll(prefix, found, want, grad, grad_floor, observe)))
  }
  return comparisons
}
