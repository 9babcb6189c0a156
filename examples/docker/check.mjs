// `npm test`: builds the image, runs it, asks it, and stops it.
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

const IMAGE = 'x-transformers-example'
const ADDRESS = 'http://127.0.0.1:8080'

const docker = (...args) => execFileSync('docker', args, { encoding: 'utf8' }).trim()
const show = (...args) => execFileSync('docker', args, { stdio: 'inherit' })

async function healthy() {
  for (let tries = 0; tries < 100; tries++) {
    const response = await fetch(`${ADDRESS}/health`).catch(() => null)
    if (response?.ok) return await response.json()
    await sleep(200)
  }
  throw new Error('the server does not answer')
}

async function ask(container) {
  const { target } = await healthy()
  if (target !== 'native') throw new Error(`the addon was not loaded: ${target}`)
  const user = docker('exec', container, 'id', '-un')
  if (user !== 'node') throw new Error(`the server runs as ${user}`)
  const request = { method: 'POST', body: 'Call me ' }
  const text = await (await fetch(`${ADDRESS}/generate?length=100`, request)).text()
  if (text.length < 80) throw new Error(`too little text: ${text}`)
  console.log(`${target}, as ${user}: ${text}`)
}

// a registry on this machine is only seen from a build in its network
const registry = process.env.OUTSIDE_REGISTRY
const own = registry ? ['--network=host', `--build-arg=NPM_CONFIG_REGISTRY=${registry}`] : []
show('build', ...own, '-t', IMAGE, '.')
const container = docker('run', '-d', '--rm', '-p', '127.0.0.1:8080:8080', IMAGE)
try {
  await ask(container)
} catch (error) {
  show('logs', container)
  throw error
} finally {
  show('stop', container)
}
