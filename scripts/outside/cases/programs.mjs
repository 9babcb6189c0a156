// Programs of a project that npm has installed: TypeScript, worker threads, and tests.
import { asCommonTs, asModule, asTest, logged, same } from '../sample.mjs'
import { WITH } from '../tools.mjs'
import { installed } from './managers.mjs'

const COMPILER = {
  target: 'es2022',
  strict: true,
  types: ['node'],
  rootDir: '.',
  outDir: 'out',
  noEmitOnError: true,
}

/** Compiles, without `skipLibCheck`, and runs what comes out. */
async function compiled(project, manifest, compilerOptions, files, outputs) {
  project.write({
    'package.json': { private: true, ...manifest },
    'tsconfig.json': { compilerOptions: { ...COMPILER, ...compilerOptions }, include: ['*'] },
    ...files,
  })
  await project.run(`npm install x-transformers ${WITH.typescript} ${WITH.node}`)
  await project.run('tsc')
  for (const file of outputs)
    same(await project.lines(`node out/${file}`), logged(), `the output of ${file}`)
}

const bundler = (project) =>
  compiled(
    project,
    { type: 'module' },
    { module: 'esnext', moduleResolution: 'bundler' },
    { 'a.ts': asModule },
    ['a.js'],
  )

const node16 = (project) =>
  compiled(
    project,
    {},
    { module: 'node16', moduleResolution: 'node16' },
    { 'a.mts': asModule, 'b.cts': asCommonTs, 'c.ts': asCommonTs },
    ['a.mjs', 'b.cjs', 'c.js'],
  )

/** Two at once. Their outputs are mixed: all of the first lines may come first. */
const inWorkers = (file) => `
  import { Worker } from 'node:worker_threads'
  const run = () =>
    new Promise((resolve, reject) => {
      new Worker(new URL('./${file}', import.meta.url)).on('error', reject).on('exit', resolve)
    })
  const codes = await Promise.all([run(), run()])
  console.log(codes.join())
`

async function threads(project) {
  await installed(project)
  project.write({ 'c.mjs': inWorkers('a.mjs'), 'd.mjs': inWorkers('b.cjs') })
  const wanted = [...logged(), ...logged(), '0,0'].sort()
  for (const file of ['c.mjs', 'd.mjs'])
    same((await project.lines(`node ${file}`)).sort(), wanted, `the output of ${file}`)
}

async function jest(project) {
  const sample = asTest("const $x = require('x-transformers')")
  project.write({ 'package.json': { private: true }, 'sample.test.js': sample })
  await project.run(`npm install x-transformers ${WITH.jest}`)
  await project.run('jest --json --outputFile=report.json')
  same(await passed(project), 1, 'the number of passed tests')
}

async function passed(project) {
  const print = "console.log(JSON.parse(require('fs').readFileSync('report.json')).numPassedTests)"
  project.write({ 'passed.cjs': print })
  return Number(await project.run('node passed.cjs'))
}

/** Two files, so that the package is loaded in two threads of one process, or in two processes. */
const vitest = (pool) => async (project) => {
  const imports = "import { expect, test } from 'vitest'\nimport * as $x from 'x-transformers'"
  const sample = asTest(imports)
  project.write({
    'package.json': { private: true, type: 'module' },
    'one.test.js': sample,
    'two.test.js': sample,
  })
  await project.run(`npm install x-transformers ${WITH.vitest}`)
  const reports = '--reporter=default --reporter=json --outputFile.json=report.json'
  await project.run(`vitest run --pool=${pool} ${reports}`)
  same(await passed(project), 2, 'the number of passed tests')
}

export const PROGRAMS = {
  'TypeScript, bundler': bundler,
  'TypeScript, node16': node16,
  'worker threads': threads,
  Jest: jest,
  'vitest, threads': vitest('threads'),
  'vitest, forks': vitest('forks'),
}
