import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { ServeSettings } from '../commands/serve.js'
import { Failure } from '../errors.js'
import { Interrupt } from '../interrupt.js'
import { openWriter } from '../model/open.js'
import { Output } from '../output.js'
import { applyRuntime } from '../runtime.js'
import { makeServer } from './server.js'

/** Answers over HTTP until it is interrupted: `x-transformers serve`. */
export async function serve(path: string, settings: ServeSettings): Promise<void> {
  const output = new Output(settings.json)
  applyRuntime(settings)
  const { name, ...writer } = await openWriter(path)
  const log = (line: string) => output.note(`${new Date().toISOString()} ${line}`)
  const server = makeServer({ writer, name, settings, log })
  const interrupt = new Interrupt(() => output.note('Finishing what has begun ...'))
  server.listen(settings.port, settings.host)
  await once(server, 'listening').catch((error: Error) => {
    throw new Failure(`cannot listen at ${settings.host}:${settings.port}: ${error.message}`)
  })
  const { port, address, family } = server.address() as AddressInfo
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  output.result({ url, model: name }, `${name} is served at ${url}; Ctrl-C ends it.`)
  const closed = once(server, 'close')
  const close = () => server.close()
  if (interrupt.requested) close()
  else interrupt.signal.addEventListener('abort', close)
  await closed
}
