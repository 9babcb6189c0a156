/** Requests and answers of HTTP. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { RequestError } from './errors.js'

/**
 * The JSON in the body of a request.
 *
 * @param most the most bytes
 * @throws RequestError (413, 415, 400)
 */
export async function readJsonBody(request: IncomingMessage, most: number): Promise<unknown> {
  const type = request.headers['content-type'] ?? 'application/json'
  if (!/^application\/json\b/i.test(type))
    throw new RequestError(415, `the body must be application/json, not ${type}`)
  const tooLarge = () => new RequestError(413, `the body has more than ${most} bytes`)
  if (Number(request.headers['content-length'] ?? 0) > most) throw tooLarge()
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > most) throw tooLarge()
    parts.push(part)
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
    return JSON.parse(text)
  } catch (error) {
    throw new RequestError(400, `the body is no JSON: ${(error as Error).message}`)
  }
}

export function sendJson(response: ServerResponse, status: number, value: object): void {
  const text = JSON.stringify(value)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...((status === 413 || status === 415) && { connection: 'close' }),
  })
  response.end(text)
}

/** Events that are sent one by one; each waits until the client takes it. */
export class EventStream {
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    this.#response = response
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
    response.flushHeaders()
  }

  async send(value: object | '[DONE]'): Promise<void> {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    const response = this.#response
    if (response.write(`data: ${text}\n\n`) || response.destroyed) return
    await new Promise<void>((resolve) => {
      const done = () => {
        response.off('drain', done).off('close', done)
        resolve()
      }
      response.once('drain', done).once('close', done)
    })
  }

  end(): void {
    this.#response.end()
  }
}
