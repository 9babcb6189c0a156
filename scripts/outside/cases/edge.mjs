// Edge runtimes: workerd, as Cloudflare's command starts it, and that of Next.js.
import { chunksOf, isText, learns } from '../output.mjs'
import { must, same } from '../sample.mjs'

/** Not compressed: that waits for more of the text. */
const headers = { 'accept-encoding': 'identity' }
const ask = (address, signal) =>
  fetch(address, { method: 'POST', body: 'Call me ', headers, signal })

/** Two requests at once: what one of them has made, another one must be able to use. */
async function both(address) {
  for (const { count, text } of await Promise.all(
    [1, 2].map(async () => chunksOf(await ask(address))),
  )) {
    must(count > 5, `${count} pieces: this is no stream.`)
    isText(text, 150)
  }
}

async function workerd(project) {
  await project.copy('examples/cloudflare-worker').run('npm install')
  learns(await project.run('npm run train -- 80'))
  await project.run('npm run check')
  const env = { WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' }
  const use = async (address, server) => {
    const { target } = await (await fetch(address)).json()
    same(target, 'wasm', 'the backend')
    await both(address)
    const controller = new AbortController()
    const response = await ask(address, controller.signal)
    await response.body.getReader().read()
    controller.abort()
    await both(address)
    must(server.running(), 'The server has ended.')
  }
  await project.serve('wrangler dev --ip 127.0.0.1 --port $PORT', use, { env })
}

const ROUTE = `
  import { Decoder, info, ones } from 'x-transformers'
  export const runtime = 'edge'
  export const dynamic = 'force-dynamic'
  const layers = new Decoder({ dim: 16, depth: 1, heads: 2 })
  export async function GET() {
    const y = await layers.forward(ones([1, 4, 16]))
    return Response.json({ target: info().target, shape: y.shape })
  }
`

async function nextEdge(project) {
  project.write({
    'package.json': { private: true, type: 'module' },
    'app/layout.jsx': 'export default ({ children }) => <html><body>{children}</body></html>',
    'app/page.jsx': 'export default () => <p>edge</p>',
    'app/edge/route.js': ROUTE,
  })
  await project.run('npm install x-transformers next@16.4.6 react@19 react-dom@19')
  await project.run('next build', { patience: 600_000 })
  const use = async (address) => {
    const answers = await Promise.all([1, 2].map(() => fetch(`${address}/edge`)))
    for (const answer of answers)
      same(await answer.json(), { target: 'wasm', shape: [1, 4, 16] }, 'the answer')
  }
  await project.serve('next start -p $PORT', use)
}

export const EDGE = {
  'examples/cloudflare-worker, in workerd': workerd,
  'Next.js, edge runtime': nextEdge,
}
