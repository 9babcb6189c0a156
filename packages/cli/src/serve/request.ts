/** What a request for a completion may say: the names are OpenAI's. */
import * as v from 'valibot'
import { closest } from '../closest.js'
import { RequestError } from './errors.js'

const whole = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most))
const optional = <S extends v.GenericSchema>(schema: S) => v.nullish(schema)
const ids = v.array(whole(0))

const RequestSchema = v.strictObject({
  model: optional(v.string()),
  prompt: optional(v.union([v.string(), v.array(v.string()), ids, v.array(ids)])),
  max_tokens: optional(whole(1)),
  temperature: optional(v.pipe(v.number(), v.minValue(0), v.maxValue(2))),
  top_p: optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1))),
  n: optional(whole(1, 16)),
  stream: optional(v.boolean()),
  stream_options: optional(v.strictObject({ include_usage: optional(v.boolean()) })),
  stop: optional(v.union([v.string(), v.pipe(v.array(v.string()), v.maxLength(16))])),
  seed: optional(whole(0)),
  echo: optional(v.boolean()),
  user: optional(v.string()),
  // not OpenAI's
  top_k: optional(whole(1)),
  min_p: optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(1))),
  repetition_penalty: optional(v.pipe(v.number(), v.gtValue(0))),
})

const KNOWN = Object.keys(RequestSchema.entries)

/** What OpenAI has and this does not; the value that changes nothing is accepted. */
const REFUSED: Readonly<Record<string, readonly unknown[]>> = {
  best_of: [1],
  frequency_penalty: [0],
  presence_penalty: [0],
  logit_bias: [],
  logprobs: [],
  suffix: ['', null],
}

export interface CompletionRequest {
  prompts: (string | number[])[]
  max_tokens: number
  n: number
  stream: boolean
  include_usage: boolean
  echo: boolean
  stop: string[]
  sampling: {
    temperature: number
    topP?: number
    topK?: number
    minP?: number
    repetitionPenalty?: number
    seed?: number
  }
}

/** @throws RequestError (400) about what is wrong */
export function parseRequest(body: unknown, most: number): CompletionRequest {
  const given = withoutDefaults(body)
  const { success, output, issues } = v.safeParse(RequestSchema, given)
  if (!success) throw describe(issues[0])
  const { max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed } = output
  if ((max_tokens ?? 16) > most)
    throw new RequestError(400, `max_tokens must be at most ${most}`, 'max_tokens')
  const sampling = {
    temperature: temperature ?? 1,
    topP: top_p ?? undefined,
    topK: top_k ?? undefined,
    minP: min_p ?? undefined,
    repetitionPenalty: repetition_penalty ?? undefined,
    seed: seed ?? undefined,
  }
  return {
    prompts: promptsOf(output.prompt),
    max_tokens: max_tokens ?? 16,
    n: output.n ?? 1,
    stream: output.stream ?? false,
    include_usage: output.stream_options?.include_usage ?? false,
    echo: output.echo ?? false,
    stop: typeof output.stop === 'string' ? [output.stop] : (output.stop ?? []),
    sampling: sampling as CompletionRequest['sampling'],
  }
}

function withoutDefaults(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new RequestError(400, 'the body must be an object of JSON')
  const own = { ...body } as Record<string, unknown>
  for (const [name, harmless] of Object.entries(REFUSED)) {
    if (own[name] === undefined) continue
    if (own[name] !== null && !harmless.includes(own[name]))
      throw new RequestError(400, `${name} is not supported here`, name, 'unsupported')
    delete own[name]
  }
  return own
}

type Prompt = v.InferOutput<typeof RequestSchema>['prompt']

function promptsOf(prompt: Prompt): (string | number[])[] {
  if (prompt === undefined || prompt === null) return ['']
  if (typeof prompt === 'string') return [prompt]
  if (prompt.length === 0) throw new RequestError(400, 'prompt must not be empty', 'prompt')
  if (prompt.length > 64) throw new RequestError(400, 'prompt: at most 64 at once', 'prompt')
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as (string | number[])[])
}

function describe(issue: v.BaseIssue<unknown> | undefined): RequestError {
  const keys = (issue?.path ?? []).map(({ key }) => String(key))
  const name = keys.join('.') || null
  if (issue?.expected === 'never') {
    const near = closest(keys.at(-1) as string, KNOWN)
    const hint = near ? `; did you mean ${near}?` : ''
    return new RequestError(400, `${name} is not a parameter${hint}`, name)
  }
  return new RequestError(400, `${name}: ${issue?.message}`, name)
}
