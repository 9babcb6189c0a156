/** A model as the text of its constructor. */
import { isRecord, refuse } from '../checks.js'
import { describe } from '../models/describe.js'
import { Module } from '../module/module.js'
import { plainOf } from '../train/model-info.js'

/** A model as `describe()` tells it: class, and options with the models within. */
export interface DescribedModel {
  class: string
  options: unknown
}

/** Lines are broken where they would be longer. */
const COLUMNS = 80

const STEP = '  '

/** Items in brackets, on one line where there is room. */
function list(items: readonly string[], [open, close]: string, indent: string, pad = ''): string {
  if (items.length === 0) return `${open}${close}`
  const line = `${open}${pad}${items.join(', ')}${pad}${close}`
  if (indent.length + line.length <= COLUMNS && !line.includes('\n')) return line
  const inner = items.map((item) => `${indent}${STEP}${item},\n`)
  return `${open}\n${inner.join('')}${indent}${close}`
}

const isModel = (value: unknown): value is DescribedModel =>
  isRecord(value) && typeof value.class === 'string' && isRecord(value.options)

/** The options of a model apart from the one that constructors take first. */
function argumentsOf({ options }: DescribedModel): { net: unknown; own: [string, unknown][] } {
  const { net, ...own } = options as Record<string, unknown>
  return { net, own: Object.entries(own) }
}

const keyOf = (name: string) => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name))

function typescript(value: unknown, indent = ''): string {
  const inner = indent + STEP
  const object = (entries: [string, unknown][], at: string) =>
    list(
      entries.map(([name, item]) => `${keyOf(name)}: ${typescript(item, at + STEP)}`),
      '{}',
      at,
      ' ',
    )
  if (isModel(value)) {
    const { net, own } = argumentsOf(value)
    if (net === undefined) return `new ${value.class}(${object(own, indent)})`
    if (own.length === 0) return `new ${value.class}(${typescript(net, indent)})`
    return `new ${value.class}${list([typescript(net, inner), object(own, inner)], '()', indent)}`
  }
  if (Array.isArray(value)) {
    const items = value.map((item) => typescript(item, inner))
    return list(items, '[]', indent)
  }
  return isRecord(value) ? object(Object.entries(value), indent) : JSON.stringify(value)
}

const CONSTANTS = new Map<unknown, string>([
  [true, 'True'],
  [false, 'False'],
  [null, 'None'],
])

function python(value: unknown, indent = ''): string {
  const inner = indent + STEP
  if (isModel(value)) {
    const { net, own } = argumentsOf(value)
    const named = own.map(([name, item]) => `${name} = ${python(item, inner)}`)
    const first = net === undefined ? [] : [python(net, inner)]
    return value.class + list([...first, ...named], '()', indent)
  }
  if (Array.isArray(value)) {
    const items = value.map((item) => python(item, inner))
    return list(items, '[]', indent)
  }
  if (!isRecord(value)) return CONSTANTS.get(value) ?? JSON.stringify(value)
  const items = Object.entries(value).map(
    ([name, item]) => `${JSON.stringify(name)}: ${python(item, inner)}`,
  )
  return list(items, '{}', indent)
}

/** The modules of Python that have our classes, with the same names of arguments. */
const MODULES: [module: string, classes: readonly string[]][] = [
  ['torch.nn', ['Dropout', 'Embedding', 'LayerNorm', 'Linear', 'RMSNorm']],
  ['x_transformers.x_transformers', ['FeedForward']],
]

/** What a text in Python imports. */
function imports(classes: readonly string[]): string {
  const moduleOf = (name: string) =>
    MODULES.find(([, own]) => own.includes(name))?.[0] ?? 'x_transformers'
  const modules = [...new Set(classes.map(moduleOf))].sort()
  const line = (module: string) =>
    `from ${module} import ${classes.filter((name) => moduleOf(name) === module).join(', ')}\n`
  return modules.map(line).join('')
}

/** The classes of a model and of those within, in the order of the alphabet. */
function classesOf(model: DescribedModel): string[] {
  const inner = Object.values(model.options as object)
  const all = inner.flatMap((value) => (isModel(value) ? classesOf(value) : []))
  return [...new Set([model.class, ...all])].sort()
}

/** Both texts of a model. */
export function codeOf(given: DescribedModel): { typescript: string; python: string } {
  const model = plainOf(given) as DescribedModel
  const names = classesOf(model)
  return {
    typescript: `import { ${names.join(', ')} } from 'x-transformers'\n\nconst model = ${typescript(model)}\n`,
    python: `${imports(names)}\nmodel = ${python(model)}\n`,
  }
}

function checkModel(model: Module | DescribedModel): DescribedModel {
  if (model instanceof Module) {
    const { class: name, options } = describe(model)
    return { class: name, options: isRecord(options) ? options : {} }
  }
  if (isModel(model)) return model
  throw refuse('the model', 'a Module, or { class, options } as describe() gives it', model)
}

/**
 * The text in TypeScript that makes a model with the options of this one: for a model of a class
 * of your own, the name of that class stands there too.
 *
 * @example
 * console.log(toTypeScript(model)) // import { Decoder, ... } from 'x-transformers' ...
 * @throws XTransformersError (`invalid_argument`)
 */
export const toTypeScript = (model: Module | DescribedModel): string =>
  codeOf(checkModel(model)).typescript

/** As {@link toTypeScript}, for the Python package; single layers are those of PyTorch. */
export const toPython = (model: Module | DescribedModel): string => codeOf(checkModel(model)).python
