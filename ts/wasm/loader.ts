import { failed, hasRelaxedSimd, type ModuleSource, type OnProgress, unusable } from './start.js'

/** The file for this engine. The addresses are written so that bundlers find the files. */
function defaultUrl(): URL {
  return hasRelaxedSimd()
    ? new URL('./pkg/x-transformers.relaxed.wasm', import.meta.url)
    : new URL('./pkg/x-transformers.wasm', import.meta.url)
}

const HOW =
  'place the file yourself and name it, by init({ url }) of x-transformers/wasm or spawn({ wasm: { url, threads_url } })'

/** Fetches and compiles a file. */
export async function compile(
  url: string | URL,
  on_progress?: OnProgress,
): Promise<WebAssembly.Module> {
  const response = await fetch(url).catch((error) => {
    throw failed(`could not be fetched from ${url}: ${HOW}`, error)
  })
  if (!response.ok) throw failed(`is not at ${url} (status ${response.status}): ${HOW}`)
  const type = response.headers.get('content-type') ?? ''
  if (type.startsWith('text/html'))
    throw failed(`is not at ${url}, where a page of HTML came: ${HOW}`)
  const reported: { error?: unknown } = {}
  try {
    // streaming wants the right type, which servers that do not know .wasm do not give
    const streams =
      type.startsWith('application/wasm') && typeof WebAssembly.compileStreaming === 'function'
    const watched = on_progress ? watch(response, on_progress, reported) : response
    return await (streams
      ? WebAssembly.compileStreaming(watched)
      : WebAssembly.compile(await watched.arrayBuffer()))
  } catch (error) {
    if ('error' in reported) throw reported.error
    throw unusable(error)
  }
}

/** The module that the settings name. */
export async function moduleOf({ url, bytes, module, on_progress }: ModuleSource): Promise<object> {
  if (module) return module
  if (!bytes) return await compile(url ?? defaultUrl(), on_progress)
  return await WebAssembly.compile(bytes as BufferSource).catch((error) => {
    throw unusable(error)
  })
}

/**
 * The same response, whose bytes are counted on their way. What `on_progress` throws ends it, and
 * is noted: nobody else would say it as it is.
 */
function watch(
  response: Response,
  on_progress: OnProgress,
  reported: { error?: unknown },
): Response {
  const tell: OnProgress = (progress) => {
    try {
      on_progress(progress)
    } catch (error) {
      reported.error = error
      throw error
    }
  }
  // of a compressed file the length is that of what travels
  const length = response.headers.has('content-encoding')
    ? null
    : response.headers.get('content-length')
  const total = length === null ? null : Number(length)
  let loaded = 0
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      loaded += chunk.length
      tell({ loaded, total: total !== null && loaded <= total ? total : null })
      controller.enqueue(chunk)
    },
    flush: () => tell({ loaded, total: loaded }),
  })
  return new Response(response.body?.pipeThrough(counter), {
    headers: { 'content-type': 'application/wasm' },
  })
}
