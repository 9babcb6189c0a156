// The main thread: starts the training in a worker, shows how it goes, and writes with the result.
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { type AutoregressiveWrapper, load } from 'x-transformers'
import { encode, type Message, STOP, type Task } from './messages.js'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '20' } } })

/** Runs the worker; Ctrl-C asks it to stop, and it still saves what it has. */
function trained(task: Task, onStep: (step: number, loss: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./training.js', import.meta.url), { workerData: task })
    process.on('SIGINT', () => worker.postMessage(STOP))
    worker.on('message', (message: Message) => {
      if ('saved' in message) resolve(message.saved)
      else onStep(message.step, message.loss)
    })
    worker.on('error', reject)
    worker.on('exit', (code) => reject(new Error(`the worker ended with code ${code}`)))
  })
}

const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()
const task = {
  text: readFileSync('text.txt', 'utf8'),
  file: 'model.safetensors',
  seconds: Number(values.seconds),
}
const file = await trained(task, (step, loss) => {
  if (step % 20 === 0) console.log(`step ${step}  loss ${loss.toFixed(3)}`)
})
delay.disable()
const late = (delay.percentile(99) / 1e6).toFixed(1)
console.log(`timers of the main thread were at most ${late} ms late, 99 % of them`)

const model = (await load<AutoregressiveWrapper>(file)).eval()
const prompt = 'The sea '
const decoder = new TextDecoder()
process.stdout.write(prompt)
for await (const token of model.stream([encode(prompt)], 200, { temperature: 0.5 }))
  process.stdout.write(decoder.decode(Uint8Array.of(token), { stream: true }))
process.stdout.write('\n')
