// This package's contender of run.mjs: as workloads.py, from which its lines differ in nothing.
//
//   node ours.mjs NAME [THREADS]
import { createInterface } from 'node:readline'
import x from '../../dist/cjs/index.js'
import { make } from './workloads.mjs'

const [name, threads] = process.argv.slice(2)
if (threads) x.setNumThreads(Number(threads))
const run = make(x, name)
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

async function serve() {
  const { version, target, threads: used } = x.info()
  tell({ version, target, threads: used })
  for await (const line of createInterface({ input: process.stdin })) {
    const seconds = []
    for (let i = 0; i < Number(line); i++) {
      const start = performance.now()
      await run()
      seconds.push((performance.now() - start) / 1000)
    }
    // in kilobytes on all systems
    tell({ seconds, peak: process.resourceUsage().maxRSS * 1024 })
  }
}

await (name === 'start' ? run() : serve())
