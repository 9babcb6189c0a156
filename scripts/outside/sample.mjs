// The README's first sample, which every way of running the package has to run.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Failure, root } from '../lib.mjs'

const code = readFileSync(join(root, 'README.md'), 'utf8').match(/^```ts\n(.*?)^```$/ms)[1]

/** What its comments say that it logs. */
const promised = [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(([, line]) => line)
if (!promised.length) throw new Failure("README.md's first sample promises no output.")

/** What a program with the sample logs: its own lines, and the backend. */
export const logged = (target = 'native') => [...promised, target]

const TARGET = 'console.log($x.info().target)\n'

/** As a module; TypeScript too. */
export const asModule = `${code}\nimport * as $x from 'x-transformers'\n${TARGET}`

const [, names] = code.match(/^import (\{.*\}) from 'x-transformers'$/m)
const body = code.replace(/^import .*$/gm, '')

export const asCommonJs = `const $x = require('x-transformers')
const ${names} = $x
async function run() {
${body}
${TARGET}}
run()
`

/** CommonJS in TypeScript: written with `import`, without top-level await. */
export const asCommonTs = `import * as $x from 'x-transformers'
import ${names} from 'x-transformers'
async function run() {
${body}
${TARGET}}
run()
`

/** As a test of Jest or vitest, from its imports on. */
export const asTest = (imports) => `${imports}
const ${names} = $x
test('the sample', async () => {
  const lines = []
  const log = console.log
  console.log = (...values) => lines.push(values.join(' '))
  try {
${body}
${TARGET}  } finally {
    console.log = log
  }
  expect(lines).toEqual(${JSON.stringify(logged())})
})
`

/** Fails where two values differ. */
export function same(actual, wanted, what = 'the output') {
  if (isDeepStrictEqual(actual, wanted)) return
  throw new Failure(
    `${what} is not what was wanted.\nwanted: ${JSON.stringify(wanted)}\ngot:    ${JSON.stringify(actual)}`,
  )
}

/** Fails where something is not as it should be. */
export function must(holds, message) {
  if (!holds) throw new Failure(message)
}
