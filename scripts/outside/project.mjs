// A user's project: a folder of its own, and what is run in it.
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure, root } from '../lib.mjs'

const PATIENCE = 300_000

/** What this process was given that a user's does not have. */
const NOT_A_USERS =
  /^(npm_.*|NODE_ENV|NODE_OPTIONS|NODE_PATH|X_TRANSFORMERS_.*|XT_.*|XDG_.*|CI|GITHUB_.*|INIT_CWD)$/i

/** A home with the registry in its settings: so that all commands are as users type them. */
export function makeHome(folder, url) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, '.npmrc'), `registry=${url}\nupdate-notifier=false\n`)
  const yarn = {
    npmRegistryServer: url,
    unsafeHttpWhitelist: ['127.0.0.1'],
    enableTelemetry: false,
  }
  writeFileSync(join(folder, '.yarnrc.yml'), JSON.stringify(yarn))
  const kept = Object.entries(process.env).filter(([name]) => !NOT_A_USERS.test(name))
  // `npm run` puts the repository's commands first
  const path = process.env.PATH.split(delimiter).filter((place) => !place.startsWith(root))
  return {
    ...Object.fromEntries(kept),
    PATH: path.join(delimiter),
    HOME: folder,
    // for the image of examples/docker, whose build has a home of its own
    OUTSIDE_REGISTRY: url,
    ...{ NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1', DENO_NO_UPDATE_CHECK: '1' },
  }
}

export async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Groups of processes, which an end of this one would leave behind. */
const groups = new Set()

function kill(group, signal) {
  try {
    process.kill(-group, signal)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

process.on('exit', () => {
  for (const group of groups) kill(group, 'SIGKILL')
})

/** Starts a program, with all that it says in `said`; `end` also ends what it has started. */
export function start([program, ...args], { cwd, env }) {
  const child = spawn(program, args, {
    ...{ cwd, env, detached: true },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', all: '' }
  for (const name of ['stdout', 'stderr'])
    child[name].setEncoding('utf8').on('data', (text) => {
      if (name === 'stdout') said.stdout += text
      said.all += text
    })
  const closed = new Promise((resolve) => {
    child.on('error', (error) => {
      said.all += error.message
      resolve(127)
    })
    child.on('close', (code, signal) => {
      groups.delete(child.pid)
      resolve(code ?? signal)
    })
  })
  if (child.pid) groups.add(child.pid)
  const end = (signal = 'SIGTERM') => {
    if (child.pid) kill(child.pid, signal)
    return closed
  }
  /** Waits for more output, or the end. */
  const more = () => Promise.race([closed, sleep(50)])
  return {
    closed,
    end,
    more,
    said,
    running: () => child.exitCode === null && child.pid !== undefined,
  }
}

export class Project {
  constructor(folder, env, tools) {
    this.folder = folder
    this.env = env
    this.tools = tools
    mkdirSync(folder, { recursive: true })
  }

  path(...names) {
    return join(this.folder, ...names)
  }

  /** Files by path; what is no string is written as JSON. */
  write(files) {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(this.path(name)), { recursive: true })
      const text = typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`
      writeFileSync(this.path(name), text)
    }
    return this
  }

  /** A project of the repository, as git has it. */
  copy(from) {
    const built = /\/(node_modules|dist|run|\.next|\.wrangler|model\.safetensors)$/
    cpSync(join(root, from), this.folder, { recursive: true, filter: (path) => !built.test(path) })
    return this
  }

  /** `yarn add x`: the program that a user would type, or a file of the project's packages. */
  command(line) {
    const [name, ...args] = line.split(' ')
    return [...(this.tools[name] ?? [this.path('node_modules/.bin', name)]), ...args]
  }

  /** Starts a command. */
  start(line, { env = {}, cwd = this.folder } = {}) {
    return start(this.command(line), { cwd, env: { ...this.env, ...env } })
  }

  /** What a command writes to stdout; fails with its whole output where it fails. */
  async run(line, { patience = PATIENCE, ...options } = {}) {
    const started = this.start(line, options)
    const timer = setTimeout(() => started.end('SIGKILL'), patience)
    const code = await started.closed
    clearTimeout(timer)
    if (code === 0) return started.said.stdout
    throw new Failure(`\`${line}\` ended with ${code}:\n${started.said.all}`)
  }

  /** The lines that a command writes to stdout. */
  async lines(line, options) {
    return (await this.run(line, options)).trimEnd().split('\n')
  }

  /** Uses a server, which gets a free port, once it answers, and ends it. */
  async serve(line, use, { path = '/', patience = 120_000, ...options } = {}) {
    const port = await freePort()
    const address = `http://127.0.0.1:${port}`
    const env = { ...options.env, PORT: `${port}`, HOSTNAME: '127.0.0.1' }
    const server = this.start(line.replace('$PORT', port), { ...options, env })
    try {
      const answers = () =>
        fetch(address + path).then(
          ({ ok }) => ok,
          () => false,
        )
      const late = performance.now() + patience
      while (!(await answers())) {
        if (!server.running() || performance.now() > late) throw new Failure('It does not answer.')
        await sleep(100)
      }
      return await use(address, server)
    } catch (error) {
      throw new Failure(`\`${line}\`: ${error.stack ?? error.message}\n${server.said.all}`)
    } finally {
      await server.end()
    }
  }
}
