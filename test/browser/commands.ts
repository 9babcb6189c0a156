// What tests in the browser may ask vitest's own process for.
import type { BrowserCommand } from 'vitest/node'
import { runBuilt } from './equality/built.js'

declare module 'vitest/browser' {
  interface BrowserCommands {
    /** Runs equality/program.mjs in Node, with the native addon; JSON of what it gives. */
    runNative: () => Promise<string>
  }
}

const runNative: BrowserCommand<[]> = () => runBuilt('native')

export const commands = { runNative }
