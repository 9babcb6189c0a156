/** The server of `x-transformers serve`. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { ServeSettings } from '../commands/serve.js'
import type { Writer } from '../model/write.js'
import { complete, jobsOf } from './completions.js'
import { RequestError } from './errors.js'
import { readJsonBody, sendJson } from './http.js'
import { Queue } from './queue.js'
import { parseRequest } from './request.js'

export interface Served {
  writer: Writer
  /** What the model is called. */
  name: string
  settings: ServeSettings
  /** Hears of each request once it is over. */
  log: (line: string) => void
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void

/** A server for one model, which is not listening yet. */
export function makeServer(served: Served): Server {
  const queue = new Queue(served.settings.queue)
  const created = Math.floor(Date.now() / 1000)
  const model = { id: served.name, object: 'model', created, owned_by: 'x-transformers' }
  const routes: Record<string, Record<string, Handler>> = {
    '/health': {
      GET: (_, response) => sendJson(response, 200, { status: 'ok', waiting: queue.waiting }),
    },
    '/v1/models': {
      GET: (_, response) => sendJson(response, 200, { object: 'list', data: [model] }),
    },
    [`/v1/models/${served.name}`]: { GET: (_, response) => sendJson(response, 200, model) },
    '/v1/completions': {
      POST: (request, response) => answerCompletion(request, response, served, queue),
    },
  }
  return createServer((request, response) => {
    void answer(request, response, routes, served)
  })
}

/** Answers a request; what goes wrong is an answer too. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Record<string, Record<string, Handler>>,
  { settings, log }: Served,
): Promise<void> {
  const start = performance.now()
  const { method = 'GET', url = '/' } = request
  response.once('close', () => {
    const seconds = ((performance.now() - start) / 1000).toFixed(2)
    const state = response.writableFinished ? response.statusCode : 'the client has left'
    log(`${method} ${url} ${state} ${seconds} s`)
  })
  if (settings.cors) allowOrigin(response, settings.cors)
  try {
    if (settings.cors && method === 'OPTIONS') response.writeHead(204).end()
    else await handlerOf(routes, method, url)(request, response)
  } catch (error) {
    fail(response, error, log)
  }
}

function allowOrigin(response: ServerResponse, origin: string): void {
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('access-control-allow-methods', 'GET, POST, OPTIONS')
  response.setHeader('access-control-allow-headers', 'content-type, authorization')
}

function handlerOf(
  routes: Record<string, Record<string, Handler>>,
  method: string,
  url: string,
): Handler {
  const path = decoded(url.split('?')[0] as string)
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined
  if (!route) throw new RequestError(404, `there is no ${path}: ask /v1/completions or /v1/models`)
  const handler = Object.hasOwn(route, method) ? route[method] : undefined
  if (handler) return handler
  throw new RequestError(405, `${path} takes ${Object.keys(route).join(', ')}, not ${method}`)
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

async function answerCompletion(
  request: IncomingMessage,
  response: ServerResponse,
  { writer, name, settings }: Served,
  queue: Queue,
): Promise<void> {
  const body = await readJsonBody(request, settings.maxBody)
  const wanted = parseRequest(body, settings.maxTokens)
  const asked = (body as { model?: string | null }).model
  if (asked && asked !== name)
    throw new RequestError(404, `there is no model ${asked}, only ${name}`, 'model', 'model')
  const jobs = jobsOf(wanted, writer)
  const left = new AbortController()
  response.once('close', () => left.abort())
  if (response.destroyed) left.abort()
  const { signal } = left
  await queue.run(signal, () => complete(response, wanted, jobs, { writer, model: name, signal }))
}

/** Says what has gone wrong, where somebody is left to hear it. */
function fail(response: ServerResponse, error: unknown, log: (line: string) => void): void {
  if (response.destroyed) return
  const known = error instanceof RequestError
  const failure = known ? error : new RequestError(500, (error as Error).message)
  if (!known) log(`error: ${(error as Error).stack}`)
  if (!response.headersSent) sendJson(response, failure.status, failure.body())
  // in the middle of a stream
  else response.end(`data: ${JSON.stringify(failure.body())}\n\n`)
}
