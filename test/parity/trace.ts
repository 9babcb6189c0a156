import { clipGradNorm, cosineWarmup, type Module, type Tensor, tensor } from 'x-transformers'
import { build, exported, fromTensor, type ModelSpec, toTensors } from './build.js'
import { type Comparison, compare, compareNames, compareNumbers, type Observer } from './compare.js'
import { part, type Stored } from './safetensors.js'

/** A recorded training run; test/golden/README.md says what the fields mean. */
export interface Trace {
  trace: string
  model: ModelSpec
  steps: number
  accumulate: number
  optimizer: {
    name: string
    lr: number
    weight_decay: number
    no_decay_below_dims?: number
  } & Record<string, unknown>
  clip_grad_norm: number | null
  schedule: { name: string; warmup_steps: number; total_steps: number; min_lr: number } | null
  loss: number[]
  grad_norm: number[]
  lr: number[]
  tolerance: { loss: number; end: number; grad_norm?: number }
}

interface Optimizer {
  lr: number
  step(): Promise<void>
  zeroGrad(): void
}

const FLOOR = 0.01

function makeOptimizer(spec: Trace, parameters: Tensor[]): Optimizer {
  const { name, no_decay_below_dims: dims, ...options } = spec.optimizer
  const groups =
    dims === undefined
      ? parameters
      : [
          {
            params: parameters.filter((p) => p.shape.length >= dims),
            weight_decay: options.weight_decay,
          },
          { params: parameters.filter((p) => p.shape.length < dims), weight_decay: 0 },
        ]
  return new (exported(name) as new (...args: unknown[]) => Optimizer)(groups, options)
}

function makeSchedule({ schedule, optimizer }: Trace): (step: number) => number {
  if (!schedule) return () => optimizer.lr
  const { name, ...options } = schedule
  if (name !== 'cosine_warmup')
    throw new Error(`the trace has the schedule ${name}, which is not known`)
  return cosineWarmup({ lr: optimizer.lr, ...options })
}

/** The batches, in order: (batch, length + 1) token ids each. */
function* batches({ shape, data }: Stored): Generator<Tensor> {
  const [, , rows, columns] = shape as [number, number, number, number]
  const size = rows * columns
  for (let at = 0; at < data.length; at += size) {
    yield tensor(data.slice(at, at + size), { shape: [rows, columns], dtype: 'i64' })
  }
}

async function train(spec: Trace, model: Module, batch: Stored) {
  const parameters = model.parameters()
  const optimizer = makeOptimizer(spec, parameters)
  const schedule = makeSchedule(spec)
  const source = batches(batch)
  const record = { loss: [] as number[], grad_norm: [] as number[], lr: [] as number[] }
  for (let step = 0; step < spec.steps; step++) {
    optimizer.lr = schedule(step)
    let total = 0
    for (let i = 0; i < spec.accumulate; i++) {
      const loss = ((await model.forward(source.next().value)) as Tensor).div(spec.accumulate)
      await loss.backward()
      total += loss.item() as number
    }
    record.loss.push(total)
    record.grad_norm.push(
      await clipGradNorm(parameters, spec.clip_grad_norm ?? Number.POSITIVE_INFINITY),
    )
    record.lr.push(optimizer.lr)
    await optimizer.step()
    optimizer.zeroGrad()
  }
  return record
}

/** Trains as PyTorch did, and compares losses, norms, rates and the weights at the end. */
export async function runTrace(
  spec: Trace,
  data: Map<string, Stored>,
  observe: Observer,
): Promise<Comparison[]> {
  const model = build(spec.model)
  model.loadStateDict(toTensors(part(data, 'start.')), { strict: true })
  const batch = data.get('in.batch')
  if (!batch) throw new Error('the trace has no in.batch')
  const record = await train(spec, model.train(), batch)
  for (const [name, values] of Object.entries(record)) {
    observe(name, { shape: [values.length], data: Float64Array.from(values) })
  }

  const { tolerance } = spec
  const comparisons = [
    compareNumbers('loss', record.loss, spec.loss, tolerance.loss),
    compareNumbers(
      'grad_norm',
      record.grad_norm,
      spec.grad_norm,
      tolerance.grad_norm ?? tolerance.loss,
    ),
    // Both are computed in double precision.
    compareNumbers('lr', record.lr, spec.lr, 1e-9, 0),
  ]
  const want = part(data, 'end.')
  const got = model.stateDict()
  comparisons.push(compareNames('the set of end.*', got.keys(), want.keys()))
  for (const [name, stored] of want) {
    const tensor = got.get(name)
    if (!tensor) continue
    const value = await fromTensor(tensor)
    observe(`end.${name}`, value)
    comparisons.push(compare(`end.${name}`, value, stored, tolerance.end, FLOOR))
  }
  return comparisons
}
