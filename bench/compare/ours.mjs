// This package's contender of run.mjs: as workloads.py, from which its lines differ in nothing.
//
//   node ours.mjs NAME [THREADS]
import x from '../../dist/cjs/index.js'
import { serve } from './serve.mjs'
import { make } from './workloads.mjs'

const [name, threads] = process.argv.slice(2)
if (threads) x.setNumThreads(Number(threads))
const run = make(x, name)
await (name === 'start' ? run() : serve(x, run))
