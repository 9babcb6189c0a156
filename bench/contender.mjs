// A contender in a process of its own, which answers each line with a line of JSON; the first line, without being asked, says what runs.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Failure } from '../scripts/lib.mjs'

/** What a contender finds. Without the certificates that a machine may add for Node: to read them takes as long as Node itself, at each start. */
function environment(own) {
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env
  return { ...env, ...own }
}

/** Starts `program`: `{ info, ask(line), close() }`. */
export async function start(program, args, env = {}) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: environment(env) })
  const failed = new Promise((_, reject) => {
    child.once('error', (error) => reject(new Failure(`${program} does not run: ${error.message}`)))
    child.once('exit', (code) =>
      reject(new Failure(`${args.join(' ')} ended with ${code}; the reason stands above.`)),
    )
  })
  // it also ends when it is told to
  failed.catch(() => {})
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => {
    const { done, value } = await Promise.race([lines.next(), failed])
    // the output ends before the process does
    return done ? failed : JSON.parse(value)
  }
  return {
    info: await answer(),
    ask(line) {
      child.stdin.write(`${line}\n`)
      return answer()
    },
    close: () => child.kill(),
  }
}

/** Contenders `[name, [program, args, env]]` that take turns at what they do: `{ name: { info, seconds, peak } }`. */
export async function compete(contenders, { warm_up, runs }, rounds) {
  const entries = []
  try {
    for (const [name, command] of contenders) {
      const contender = await start(...command)
      entries.push({ ...contender, name, seconds: [], peak: 0 })
      await contender.ask(warm_up)
    }
    for (let round = 0; round < rounds; round++) {
      for (const entry of entries) {
        const { seconds, peak } = await entry.ask(runs)
        entry.seconds.push(...seconds)
        entry.peak = peak
      }
    }
    return Object.fromEntries(
      entries.map(({ name, info, seconds, peak }) => [name, { info, seconds, peak }]),
    )
  } finally {
    for (const { close } of entries) close()
  }
}

/** Seconds that a whole process takes. */
export async function wholeLife(program, args, env = {}) {
  const begin = performance.now()
  const child = spawn(program, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: environment(env),
  })
  const code = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Failure(`${program} does not run: ${error.message}`)))
    child.once('exit', resolve)
  })
  if (code !== 0)
    throw new Failure(`${args.join(' ')} ended with ${code}; the reason stands above.`)
  return (performance.now() - begin) / 1000
}
