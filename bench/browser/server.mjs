// A small static server for the bench's pages: the files of the repository, cross-origin isolated, so that pages may use threads.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize, sep } from 'node:path'

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}

const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

/**
 * Serves the folder on a free port of this machine. `generated`, path -> function that gives a text, takes the place of files. Gives the
 * address, and a function that ends it.
 */
export async function serve(folder, generated = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost')
    const file = normalize(join(folder, decodeURIComponent(pathname)))
    try {
      if (!file.startsWith(folder + sep)) throw new Error('outside of the folder')
      const body = await (generated[pathname]?.() ?? readFile(file))
      response.writeHead(200, {
        ...HEADERS,
        'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
      })
      response.end(body)
    } catch {
      response.writeHead(404, HEADERS).end()
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    close: () => server.close(),
  }
}
