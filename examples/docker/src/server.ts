// An HTTP server that streams text. POST /generate has the beginning of the text as its body.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AutoregressiveWrapper, info, load } from 'x-transformers'

const PORT = Number(process.env.PORT ?? 8080)
const LONGEST_PROMPT = 10_000
const LONGEST_TEXT = 1000

const model = (await load<AutoregressiveWrapper>('model.safetensors')).eval()

/** The beginning of the body, as much as may be a prompt. */
async function promptOf(request: IncomingMessage): Promise<number[]> {
  const bytes: number[] = []
  for await (const chunk of request) {
    bytes.push(...(chunk as Buffer))
    if (bytes.length > LONGEST_PROMPT) break
  }
  return bytes.length ? bytes.slice(0, LONGEST_PROMPT) : [10]
}

async function generate(request: IncomingMessage, response: ServerResponse, length: number) {
  const prompt = await promptOf(request)
  const controller = new AbortController()
  response.on('close', () => controller.abort()) // the client may have gone away
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
  try {
    const options = { temperature: 0.5, signal: controller.signal }
    for await (const token of model.stream([prompt], length, options)) {
      // slow readers slow the generation down, instead of filling the memory
      if (!response.write(Uint8Array.of(token))) await once(response, 'drain', options)
    }
    response.end()
  } catch (error) {
    if (!controller.signal.aborted) throw error
    console.log('a client went away; its generation has ended')
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const length = Math.min(Number(searchParams.get('length')) || 200, LONGEST_TEXT)
  if (pathname === '/health') response.end(JSON.stringify(info()))
  else if (request.method !== 'POST' || pathname !== '/generate') response.writeHead(404).end()
  else await generate(request, response, length)
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error)
    response.destroy()
  })
})
server.listen(PORT, () => console.log(`listening on port ${PORT}`))

// `docker stop`: ends when the running requests have ended, at the latest after some seconds
process.once('SIGTERM', () => {
  server.close(() => process.exit())
  setTimeout(() => server.closeAllConnections(), 5000).unref()
})
