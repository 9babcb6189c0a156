// What a contender of this package answers its runner.
import { createInterface } from 'node:readline'

const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

/** Tells what runs here; then each line of the input is a number of runs, and its answer what they took. */
export async function serve(x, run) {
  const { version, target, threads } = x.info()
  tell({ version, target, threads })
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
