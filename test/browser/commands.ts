// Commands that browser tests run in vitest's own process.
import type { BrowserCommand } from 'vitest/node'
import { runBuilt } from './equality/built.js'

declare module 'vitest/browser' {
  interface BrowserCommands {
    /** Runs equality/program.mjs in Node with the native addon; returns its result as JSON. */
    runNative: () => Promise<string>
  }
}

const runNative: BrowserCommand<[]> = () => runBuilt('native')

export const commands = { runNative }
