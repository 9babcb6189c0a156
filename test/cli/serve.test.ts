// The server of `x-transformers serve`, over HTTP.
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLI, SMALL, type Started, scratch, start, x } from './command.js'

let place: ReturnType<typeof scratch>
let server: Started
let url: string
let log = ''

beforeAll(async () => {
  place = scratch()
  const run = join(place.folder, 'run')
  const data = ['--data', place.text, '--out', run, '--steps', '20']
  await x(['train', ...SMALL, ...data])
  const limits = ['--port', '0', '--max-body', '2000', '--queue', '1', '--max-tokens', '100000']
  server = start([CLI, 'serve', run, '--json', ...limits], {
    onOutput: (text) => {
      log = text
      url ||= JSON.parse(text.match(/^\{.*\}$/m)?.[0] ?? '{}').url
    },
  })
  while (!url && server.child.exitCode === null) await sleep(10)
})

afterAll(async () => {
  server.child.kill('SIGTERM')
  await server.ended
  place.remove()
})

const post = (body: unknown, init: RequestInit = {}) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  })

/** The events of a stream. */
async function events(response: Response): Promise<string[]> {
  const text = await response.text()
  return text
    .trim()
    .split('\n\n')
    .map((line) => line.replace(/^data: /, ''))
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10)
}

const waiting = async () => (await (await fetch(`${url}/health`)).json()).waiting

describe('serve', () => {
  it('lists its model', async () => {
    const list = await (await fetch(`${url}/v1/models`)).json()
    expect(list).toMatchObject({ object: 'list', data: [{ id: 'run', object: 'model' }] })
    expect((await (await fetch(`${url}/v1/models/run`)).json()).id).toBe('run')
  })

  it('completes a prompt in the form of OpenAI', async () => {
    const body = { model: 'run', prompt: 'Call me', max_tokens: 12, seed: 3 }
    const response = await post(body)
    expect(response.status).toBe(200)
    const answer = await response.json()
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      model: 'run',
      choices: [{ index: 0, finish_reason: 'length', logprobs: null }],
      usage: { prompt_tokens: 7, completion_tokens: 12, total_tokens: 19 },
    })
    expect(answer.choices[0].text).toHaveLength(12)
    const again = await (await post(body)).json()
    expect(again.choices).toEqual(answer.choices)
  })

  it('streams the same text piece by piece', async () => {
    const body = { prompt: 'Call me', max_tokens: 12, seed: 3, temperature: 0.5 }
    const whole = await (await post(body)).json()
    const response = await post({ ...body, stream: true, stream_options: { include_usage: true } })
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    const told = await events(response)
    expect(told.pop()).toBe('[DONE]')
    const parts = told.map((text) => JSON.parse(text))
    expect(parts.pop().usage.completion_tokens).toBe(12)
    const text = parts.map(({ choices: [choice] }) => choice.text).join('')
    expect(text).toBe(whole.choices[0].text)
    expect(parts.length).toBeGreaterThan(5)
    expect(parts.at(-1).choices[0].finish_reason).toBe('length')
  })

  it('takes several prompts, several answers, ids, an echo and stops', async () => {
    const many = await (
      await post({ prompt: ['Call', 'years'], n: 2, max_tokens: 3, echo: true, seed: 1 })
    ).json()
    const texts = many.choices.map(({ text }: { text: string }) => text.slice(0, 4))
    expect(texts).toEqual(['Call', 'Call', 'year', 'year'])
    expect(many.choices.map(({ index }: { index: number }) => index)).toEqual([0, 1, 2, 3])
    const ids = await (await post({ prompt: [1, 2, 3], max_tokens: 40, seed: 1 })).json()
    expect(ids.usage.prompt_tokens).toBe(3)
    const [{ text }] = ids.choices
    const stop = text.slice(5, 7)
    const stopped = await (await post({ prompt: [1, 2, 3], max_tokens: 40, seed: 1, stop })).json()
    expect(stopped.choices[0]).toMatchObject({
      text: text.slice(0, text.indexOf(stop)),
      finish_reason: 'stop',
    })
  })

  it('frees its place when a client leaves, in the queue too, and refuses more than it holds', async () => {
    const long = { prompt: 'Call', max_tokens: 100_000, stream: true }
    const [first, second] = [new AbortController(), new AbortController()]
    const streaming = await post(long, { signal: first.signal })
    const reader = (streaming.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    const queued = post(long, { signal: second.signal }).catch((error) => error.name)
    await until(async () => (await waiting()) === 1)
    const refused = await post({ prompt: 'Call' })
    expect(refused.status).toBe(429)
    second.abort()
    expect(await queued).toBe('AbortError')
    await until(async () => (await waiting()) === 0)
    const next = post({ prompt: 'Call', max_tokens: 1 })
    first.abort()
    await reader.cancel().catch(() => {})
    expect((await next).status).toBe(200)
    await until(() => log.split('the client has left').length === 3)
  })

  it('says what is wrong with a request', async () => {
    const cases: [unknown, number, string][] = [
      ['{"prompt": ', 400, 'no JSON'],
      [[1], 400, 'object'],
      [{ prompt: 'Call', max_token: 3 }, 400, 'did you mean max_tokens?'],
      [{ prompt: 'Call', max_tokens: 0 }, 400, 'max_tokens'],
      [{ prompt: 'Call', max_tokens: 1e6 }, 400, 'at most 100000'],
      [{ prompt: 'Call', temperature: 'hot' }, 400, 'temperature'],
      [{ prompt: 'Call', logprobs: 5 }, 400, 'logprobs is not supported'],
      [{ prompt: 'Ω' }, 400, '"Ω" has no id'],
      [{ prompt: [99] }, 400, 'below 22'],
      [{ prompt: [] }, 400, 'empty'],
      [{ prompt: 'Call', model: 'gpt-4' }, 404, 'there is no model gpt-4'],
      [{ prompt: 'C'.repeat(3000) }, 413, '2000 bytes'],
    ]
    for (const [body, status, message] of cases) {
      const response = await post(body)
      const { error } = await response.json()
      expect([response.status, error.message]).toEqual([status, expect.stringContaining(message)])
      expect(error.type).toBe('invalid_request_error')
    }
    expect((await fetch(`${url}/v1/chat/completions`)).status).toBe(404)
    expect((await fetch(`${url}/v1/completions`)).status).toBe(405)
    const plain = await post('{}', { headers: { 'content-type': 'text/plain' } })
    expect(plain.status).toBe(415)
  })

  it('ends a body without a length where it is too long', async () => {
    const status = await new Promise((resolve, reject) => {
      const asked = request(`${url}/v1/completions`, { method: 'POST' }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      asked.on('error', reject)
      for (let i = 0; i < 5; i++) asked.write('x'.repeat(1000))
      asked.end()
    })
    expect(status).toBe(413)
  })

  it('finishes what has begun after SIGTERM, and ends with 0', async () => {
    const run = join(place.folder, 'run')
    let address = ''
    const other = start([CLI, 'serve', run, '--json', '--port', '0'], {
      onOutput: (text) => {
        address ||= JSON.parse(text.match(/^\{.*\}$/m)?.[0] ?? '{}').url ?? ''
      },
    })
    await until(() => address !== '')
    const body = JSON.stringify({ prompt: 'Call', max_tokens: 300, stream: true })
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${address}/v1/completions`, { method: 'POST', headers, body })
    other.child.kill('SIGTERM')
    expect((await events(response)).at(-1)).toBe('[DONE]')
    expect((await other.ended).code).toBe(0)
  })

  it('says when it cannot listen', async () => {
    const { port } = new URL(url)
    const { code, stderr } = await x(['serve', join(place.folder, 'run'), '--port', port])
    expect(code).toBe(1)
    expect(stderr).toContain('EADDRINUSE')
  })
})
