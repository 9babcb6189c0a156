// What the commands of package.json that are written in TypeScript share.
import { resolve } from 'node:path'
import { explain } from '../packages/cli/src/explain.js'

/**
 * A path as the user means it: npm runs scripts in the package's folder, wherever it was called.
 */
export const userPath = (path: string) => resolve(process.env.INIT_CWD ?? '.', path)

/** Runs a command; an error of the library is explained by its message. */
export async function command(body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    process.exitCode = explain(error)
  }
}
