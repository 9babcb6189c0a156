/** Whether a model is the one that a configuration describes. */
import { describeValue } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { HuggingFaceModel } from './build.js'
import type { Options, Plan } from './families/family.js'

/** Options that matter in training alone, or to speed and memory. */
const IDLE = /(^|_)dropout$|^(enc_|dec_)?(gradient_checkpointing|emb_frac_gradient)$/

/** Layers, as the options of a model tell them. */
interface LayersSpec {
  class: string
  options: object
}

/** Whether values of options are the same, as JSON. */
const same = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)

/** The class of a plan. */
const CLASSES = {
  decoder: 'TransformerWrapper',
  encoder: 'TransformerWrapper',
  vision: 'ViTransformerWrapper',
  'encoder-decoder': 'XTransformer',
} as const

function requireSame(what: string, plan: object, model: object): void {
  const [planned, options] = [plan, model] as [Options, Options]
  for (const name of new Set([...Object.keys(planned), ...Object.keys(options)])) {
    if (name === 'attn_layers' || IDLE.test(name) || same(planned[name], options[name])) continue
    const [wanted, got] = [planned[name], options[name]].map((value) =>
      value === undefined ? 'absent' : (JSON.stringify(value) ?? describeValue(value)),
    )
    throw new XTransformersError(
      'invalid_argument',
      `the model is not the one that config.json describes: the option ${name} of its ${what} is ${got}, not ${wanted}`,
    )
  }
}

/** @throws XTransformersError (`invalid_argument`) where an option that counts differs */
export function requireSamePlan(plan: Plan, model: HuggingFaceModel): void {
  const name = CLASSES[plan.kind]
  if (model.className !== name) {
    throw new XTransformersError(
      'invalid_argument',
      `config.json describes a ${name}, and the model is a ${model.className}`,
    )
  }
  const { options } = model
  requireSame(name, plan.model, options)
  if (plan.kind === 'encoder-decoder') return
  const { attn_layers: layers } = options as unknown as { attn_layers: LayersSpec }
  const wanted = plan.kind === 'decoder' ? 'Decoder' : 'Encoder'
  if (layers.class !== wanted) {
    throw new XTransformersError(
      'invalid_argument',
      `config.json describes layers of the class ${wanted}, the model has a ${layers.class}`,
    )
  }
  requireSame(wanted, plan.layers, layers.options)
}
