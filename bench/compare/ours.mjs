// This package's contender of run.mjs: as workloads.py, from which its lines differ in nothing.
//
//   node ours.mjs NAME [THREADS]
import * as x from 'x-transformers'
import { make } from './workloads.mjs'

const [name, threads] = process.argv.slice(2)
if (threads) x.setNumThreads(Number(threads))
const run = make(x, name)
if (name === 'start') await run()
else {
  // what reads lines is no part of a start
  const { serve } = await import('./serve.mjs')
  await serve(x, run)
}
