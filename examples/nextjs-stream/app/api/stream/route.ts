import { info } from 'x-transformers'
import { model } from '../../../model'

/** Streams what follows the text in the body; ends when the reader goes away. */
export async function POST(request: Request): Promise<Response> {
  const prompt = [...new Uint8Array(await request.arrayBuffer())].slice(-1000)
  const controller = new AbortController()
  const signal = AbortSignal.any([request.signal, controller.signal])
  const writer = await model()
  const generation = writer.stream([prompt.length ? prompt : [10]], 400, {
    temperature: 0.5,
    signal,
  })
  const tokens = generation[Symbol.asyncIterator]()

  const body = new ReadableStream<Uint8Array>({
    // asked for when there is room: a slow reader slows the generation down
    async pull(stream) {
      const { done, value } = await tokens.next()
      if (done) stream.close()
      else stream.enqueue(Uint8Array.of(value))
    },
    cancel: () => controller.abort(),
  })
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'x-backend': info().target }
  return new Response(body, { headers })
}
