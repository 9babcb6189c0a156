// `node rounds.mjs '{"acts":["forward"],"rounds":3,"together":1,"main":true}'`: workers come and
// go, with the library on the main thread too or not. The process must end by itself. The last line
// is what is left of them, where the main thread can tell.
import { Worker } from 'node:worker_threads'

const { acts, rounds, together = 1, main = false } = JSON.parse(process.argv[2])
const x = main ? await import('x-transformers') : null
const ENDED = ['import', 'exit', 'throws']

async function round(act, number) {
  const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: { act } })
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  const failure = new Promise((resolve) => worker.once('error', resolve))
  if (ENDED.includes(act)) {
    const code = await ended
    if (act === 'throws' && (await failure).message !== 'as asked') throw await failure
    if (code !== (act === 'throws' ? 1 : 0)) throw new Error(`${act} ended with ${code}`)
    return
  }
  await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    failure.then(reject)
  })
  // at other moments of the call
  await new Promise((resolve) => setTimeout(resolve, (number * 7) % 12))
  await worker.terminate()
}

const look = () => {
  // the main thread's isolate is told of changes by a call
  x.randn([100_000]).dispose()
  globalThis.gc?.()
  return { native: x.memory().native_bytes, external: process.memoryUsage().external }
}

const before = x && look()
for (let i = 0; i < rounds; i++) {
  for (const act of acts)
    await Promise.all(Array.from({ length: together }, (_, j) => round(act, i + j)))
}
const after = x && look()
if (x) {
  const model = new x.Decoder({ dim: 16, depth: 1, heads: 1 })
  await model.forward(x.randn([1, 4, 16]))
}
console.log(
  JSON.stringify(
    x && { native: after.native - before.native, external: after.external - before.external },
  ),
)
