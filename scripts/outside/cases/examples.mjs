// The projects in examples/: installed and run as their READMEs say, with less training.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { TRAINING_EXAMPLES } from '../../training-examples.mjs'
import { chunksOf, isText, learns } from '../output.mjs'
import { must, same } from '../sample.mjs'
import { viteApp } from './vite-app.mjs'
import { wandbLogger } from './wandb-logger.mjs'

const SAVED = 'model.safetensors'

async function nodeScript(project) {
  await project.copy('examples/node-script').run('npm install')
  const output = await project.run('npm start -- --steps 60')
  learns(output)
  isText(output.split('Call me ')[1], 200)
  must(existsSync(project.path(SAVED)), `There is no ${SAVED}.`)

  rmSync(project.path(SAVED))
  const long = project.start('node dist/main.js --steps 100000')
  while (long.running() && !long.said.stdout.includes('step 20 ')) await long.more()
  long.end('SIGINT')
  same(await long.closed, 0, 'the exit code after Ctrl-C')
  must(existsSync(project.path(SAVED)), `Ctrl-C saved no ${SAVED}.`)
}

async function worker(project) {
  await project.copy('examples/worker').run('npm install')
  const output = await project.run('npm start -- --seconds 10')
  learns(output)
  const [, late] = output.match(/at most ([\d.]+) ms late/) ?? []
  must(Number(late) < 100, `The main thread was held up for ${late} ms:\n${output}`)
  isText(output.split('The sea ')[1], 120)
}

const ask = (address, signal) => fetch(address, { method: 'POST', body: 'Call me ', signal })

/** Several pieces, not all at once, which are text together. */
async function streams(address) {
  const response = await ask(address)
  const { count, spread, text } = await chunksOf(response)
  must(count > 5 && spread > 10, `${count} pieces in ${spread} ms: this is no stream.`)
  isText(text, 120)
  return response
}

/** Goes away after the first piece. */
async function goesAway(address) {
  const controller = new AbortController()
  const response = await ask(address, controller.signal)
  await response.body.getReader().read()
  controller.abort()
}

async function dockerServer(project) {
  await project.copy('examples/docker').run('npm install')
  await project.run('npm run build')
  learns(await project.run('npm run train -- 60'))
  await project.run('npm prune --omit=dev') // as its Dockerfile does
  const use = async (address, server) => {
    const health = await (await fetch(`${address}/health`)).json()
    same(health.target, 'native', 'the backend')
    await streams(`${address}/generate?length=200`)
    await goesAway(`${address}/generate?length=1000`)
    while (server.running() && !server.said.stdout.includes('went away')) await server.more()
    same(await server.end(), 0, 'the exit code after SIGTERM')
  }
  await project.serve('node dist/server.js', use, { path: '/health' })
}

/** The standalone server, away from the project, which is removed. */
async function nextStream(project) {
  await project.copy('examples/nextjs-stream').run('npm install')
  learns(await project.run('npm run train -- 60'))
  await project.run('npm run build', { patience: 600_000 })
  const moved = `${project.folder}-moved`
  renameSync(project.path('.next/standalone'), moved)
  rmSync(project.folder, { recursive: true })
  const use = async (address) => {
    const page = await (await fetch(address)).text()
    const script = page.match(/src="(\/_next\/static\/[^"]+)"/)?.[1]
    must(script && (await fetch(address + script)).ok, 'The page has no script.')
    await goesAway(`${address}/api/stream`)
    const response = await streams(`${address}/api/stream`)
    same(response.headers.get('x-backend'), 'native', 'the backend')
  }
  try {
    await project.serve('node server.js', use, { cwd: moved })
  } finally {
    rmSync(moved, { recursive: true, force: true })
  }
}

/** With its small setting; it ends with an error where it misses its goal. */
const training = (name) => async (project) => {
  await project.copy(`examples/${name}`).run('npm install')
  await project.run('npm start -- --quick')
}

export const EXAMPLES = {
  'examples/node-script': nodeScript,
  'examples/worker': worker,
  'examples/docker, server': dockerServer,
  'examples/nextjs-stream, Next.js standalone': nextStream,
  'examples/vite-app, in Chromium': viteApp,
  'examples/wandb-logger': wandbLogger,
  ...Object.fromEntries(TRAINING_EXAMPLES.map((name) => [`examples/${name}`, training(name)])),
}

async function electron(project) {
  await project.copy('examples/electron').run('npm install')
  const output = await project.run('npm test')
  isText(output.split('passed: Call me ')[1], 30)
}

async function dockerImage(project) {
  const output = await project.copy('examples/docker').run('npm test', { patience: 900_000 })
  isText(output.split('native, as node: ')[1], 70)
}

/** What needs more than this machine may have: a display, Docker. */
export const ON_REQUEST = {
  'examples/electron, with a display': electron,
  'examples/docker, image': dockerImage,
}
