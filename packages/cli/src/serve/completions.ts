/** Completions in OpenAI's form. */
import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type EndReason, promptIds, type Writer, writeText } from '../model/write.js'
import { RequestError } from './errors.js'
import { EventStream, sendJson } from './http.js'
import type { CompletionRequest } from './request.js'

interface Choice {
  text: string
  index: number
  logprobs: null
  finish_reason: EndReason | null
}

interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
}

/** One text that is to be written. */
interface Job {
  index: number
  ids: number[]
  /** The prompt as it is repeated, where that is asked for. */
  echo: string
  seed: number | undefined
}

/**
 * What is to be written, with each prompt as ids.
 *
 * @throws RequestError (400) where a prompt has no ids, or others than there are
 */
export function jobsOf({ prompts, n, echo, sampling }: CompletionRequest, writer: Writer): Job[] {
  const { tokenizer } = writer
  return prompts.flatMap((prompt, place) => {
    const ids = idsOf(prompt, writer)
    const text = echo ? (typeof prompt === 'string' ? prompt : tokenizer.decode(prompt)) : ''
    return Array.from({ length: n }, (_, i) => {
      const index = place * n + i
      // the answers to one prompt differ
      const seed = sampling.seed === undefined ? undefined : sampling.seed + i
      return { index, ids, echo: text, seed }
    })
  })
}

function idsOf(prompt: string | number[], { tokenizer }: Writer): number[] {
  try {
    const known = typeof prompt === 'string' || prompt.every((id) => id < tokenizer.vocabSize)
    if (known) return promptIds(tokenizer, prompt)
  } catch (error) {
    throw new RequestError(400, `prompt: ${(error as Error).message}`, 'prompt')
  }
  throw new RequestError(400, `prompt: ids are below ${tokenizer.vocabSize}`, 'prompt')
}

/** Answers a request, at once or piece by piece. */
export async function complete(
  response: ServerResponse,
  request: CompletionRequest,
  jobs: readonly Job[],
  { writer, model, signal }: { writer: Writer; model: string; signal: AbortSignal },
): Promise<void> {
  const head = {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model,
  }
  const stream = request.stream ? new EventStream(response) : null
  const send = (choices: Choice[], usage?: Usage) =>
    stream?.send({ ...head, choices, ...(usage && { usage }) })
  const choices: Choice[] = []
  const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
  for (const { index, ids, echo, seed } of jobs) {
    const choice = (text: string, finish_reason: EndReason | null): Choice => {
      return { text, index, logprobs: null, finish_reason }
    }
    if (echo) await send([choice(echo, null)])
    const writing = { ...request.sampling, prompt: ids, tokens: request.max_tokens, signal }
    const written = await writeText(
      writer,
      { ...writing, stop: request.stop, ...(seed !== undefined && { seed }) },
      (text) => send([choice(text, null)]),
    )
    await send([choice('', written.reason)])
    choices.push(choice(echo + written.text, written.reason))
    usage.completion_tokens += written.tokens
    if (index % request.n === 0) usage.prompt_tokens += written.prompt_tokens
  }
  usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
  if (!stream) return sendJson(response, 200, { ...head, choices, usage })
  if (request.include_usage) await send([], usage)
  await stream.send('[DONE]')
  stream.end()
}
