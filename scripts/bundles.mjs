// Checks what takes too long for `npm test`: a Next.js app with `output: 'standalone'`, from the
// tarballs, run where it was not built.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ensure, main } from './ensure.mjs'
import { Failure, npm, run, say } from './lib.mjs'
import { pack } from './pack.mjs'

/** Not among devDependencies: with its compiler it takes 300 MB. */
const NEXT = ['next@~16.4.6', 'react@^19', 'react-dom@^19']

/** What docs/bundlers.md says of Next.js. */
const CONFIG = `export default {
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  serverExternalPackages: ['x-transformers'],
}
`

const ROUTE = `import { Decoder, info, randint, TransformerWrapper } from 'x-transformers'

export const dynamic = 'force-dynamic'

export async function GET() {
  const attn_layers = new Decoder({ dim: 32, depth: 1, heads: 2, attn_dim_head: 16 })
  const model = new TransformerWrapper({ num_tokens: 16, max_seq_len: 32, attn_layers })
  const { shape } = await model.forward(randint(0, 16, [1, 8]))
  return Response.json({ target: info().target, shape })
}
`

const FILES = {
  'package.json': '{ "private": true }\n',
  'next.config.mjs': CONFIG,
  'app/layout.js':
    'export default ({ children }) => <html lang="en"><body>{children}</body></html>\n',
  'app/page.js': 'export default () => <p>A page</p>\n',
  'app/forward/route.js': ROUTE,
}

async function must(what, running) {
  const { code, out } = await running
  if (code !== 0) throw new Failure(`${what} failed:\n${out}`)
}

async function makeApp(project, tarballs) {
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(project, name)), { recursive: true })
    writeFileSync(join(project, name), text)
  }
  const flags = ['--no-audit', '--no-fund', '--loglevel=error', '--prefix', project]
  await must(
    'npm install',
    npm(['install', ...flags, ...NEXT, ...tarballs], { cwd: project, stdout: 'capture' }),
  )
  const next = join(project, 'node_modules/next/dist/bin/next')
  const env = { NEXT_TELEMETRY_DISABLED: '1' }
  await must(
    'next build',
    run(process.execPath, [next, 'build'], { cwd: project, env, stdout: 'capture' }),
  )
}

/** Starts the app's server, asks it once, and ends it. */
async function ask(folder, port) {
  const env = { ...process.env, PORT: String(port), HOSTNAME: '127.0.0.1' }
  const server = spawn(process.execPath, ['server.js'], {
    cwd: folder,
    env,
    stdio: ['ignore', 2, 2],
  })
  try {
    for (let tries = 0; tries < 100 && server.exitCode === null; tries++) {
      const response = await fetch(`http://127.0.0.1:${port}/forward`).catch(() => null)
      if (response) return await response.text()
      await sleep(100)
    }
    throw new Failure('The server of the app did not answer.')
  } finally {
    server.kill()
  }
}

async function checkNext(folder) {
  const tarballs = await pack(join(folder, 'pack'))
  const project = join(folder, 'project')
  const moved = join(folder, 'moved')
  say('Building a Next.js app ...')
  await makeApp(
    project,
    tarballs.map(({ file }) => file),
  )
  renameSync(join(project, '.next/standalone'), moved)
  rmSync(project, { recursive: true })
  const answer = await ask(moved, 20_000 + (process.pid % 20_000))
  const wanted = '{"target":"native","shape":[1,8,16]}'
  if (answer !== wanted) throw new Failure(`Next.js: ${wanted} was wanted, the app gave ${answer}`)
  console.log(`Next.js, standalone: ${answer}`)
}

await main(async () => {
  await ensure(['packages', 'addon', 'wasm', 'ts'])
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-bundles-'))
  try {
    await checkNext(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
