// A small static server, like that of a page.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
}

/** Headers that make a page cross-origin isolated: its workers may share memory. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}

export interface Server {
  address: string
  close(): Promise<void>
}

/** Serves the file from the first folder that has it. */
export async function serve(
  folders: string[],
  headers: Record<string, string> = {},
): Promise<Server> {
  const read = (path: string) =>
    Promise.any(folders.map((folder) => readFile(join(folder, path)))).catch(() => null)
  const server = createServer(async (request, response) => {
    // a URL has no `..`
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const body = await read(pathname)
    const type = TYPES[extname(pathname)] ?? 'application/octet-stream'
    response.writeHead(body ? 200 : 404, {
      ...headers,
      'content-type': type,
      'cache-control': 'no-store',
    })
    response.end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    address: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
