// The native build in a process of its own, on one thread. Answers run.mjs as a page does: each message names a function of the runner.
import { setNumThreads } from 'x-transformers'
import * as runner from './page/runner.js'

setNumThreads(1)
const methods = { ...runner }

process.on('message', async ({ method, args }) => {
  try {
    process.send({ result: await methods[method](...args) })
  } catch (error) {
    process.send({ error: String(error?.stack ?? error) })
  }
})
