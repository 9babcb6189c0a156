// Streams text at the edge. POST has the beginning of the text as its body.
import { type AutoregressiveWrapper, info, load } from 'x-transformers'
import weights from './model.safetensors'

const LONGEST_PROMPT = 1000
const LENGTH = 200

// the first request of an instance loads it, the next ones find it
let loading: Promise<AutoregressiveWrapper> | undefined
const model = () =>
  (loading ??= load<AutoregressiveWrapper>(new Uint8Array(weights)).then((model) => model.eval()))

/** Tokens as they come; a reader that goes away ends the generation. */
function streamed(prompt: Uint8Array): ReadableStream<Uint8Array> {
  const controller = new AbortController()
  async function* generate() {
    const options = { temperature: 0.5, signal: controller.signal }
    yield* (await model()).stream([[...prompt]], LENGTH, options)
  }
  const tokens = generate()
  return new ReadableStream({
    async pull(stream) {
      const { done, value } = await tokens.next()
      if (done) stream.close()
      else stream.enqueue(Uint8Array.of(value as number))
    },
    cancel: () => controller.abort(),
  })
}

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method !== 'POST') return Response.json({ target: info().target })
    const body = new Uint8Array(await request.arrayBuffer()).slice(0, LONGEST_PROMPT)
    const headers = { 'content-type': 'text/plain; charset=utf-8' }
    return new Response(streamed(body.length ? body : Uint8Array.of(10)), { headers })
  },
}
