// The commands in the documentation, and those that exist.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Page, root } from './pages.js'

/** Commands of npm itself. */
const NPM = new Set(['install', 'publish', 'ci', 'audit'])

interface Package {
  scripts: Record<string, string>
  bin: Record<string, string>
}

const ownPackage = (): Package => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Whether a program belongs to a devDependency. */
const isInstalled = (program: string) => existsSync(join(root, 'node_modules/.bin', program))

/** The commands in a page, in blocks and in the text, that do not exist. */
export function unknownCommands({ path, text }: Page): string[] {
  const { scripts: known, bin } = ownPackage()
  const wrong: string[] = []
  for (const [command, run, name = ''] of text.matchAll(/\bnpm (run )?([a-z][\w:]*)/g)) {
    if (!Object.hasOwn(known, name) && (run || !NPM.has(name))) wrong.push(`${path}: ${command}`)
  }
  for (const [command, name = ''] of text.matchAll(/\bnpx ([a-z][\w-]*)/g)) {
    if (!Object.hasOwn(bin, name) && !isInstalled(name)) wrong.push(`${path}: ${command}`)
  }
  for (const [command, file = ''] of text.matchAll(/\bnode ((?:[\w-]+\/)+[\w.-]+)/g)) {
    if (!existsSync(join(root, file))) wrong.push(`${path}: ${command}`)
  }
  return wrong
}
