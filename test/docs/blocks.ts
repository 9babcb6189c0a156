// Compiles and runs blocks of TypeScript.
import { inspect } from 'node:util'
import ts from 'typescript'
import { type Block, root } from './pages.js'

/** The options of the project's tsconfig. */
function compilerOptions(): ts.CompilerOptions {
  const path = `${root}tsconfig.json`
  const { config } = ts.readConfigFile(path, ts.sys.readFile)
  return ts.parseJsonConfigFileContent(config, ts.sys, root, undefined, path).options
}

/** The compiler errors of the blocks, each compiled as a module beside this file. */
export function typeErrors(blocks: readonly Block[]): string[] {
  const options = compilerOptions()
  const files = new Map(blocks.map(({ code }, i) => [`${root}test/docs/block-${i}.ts`, code]))
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.fileExists = (path) => files.has(path) || fileExists(path)
  const program = ts.createProgram([...files.keys()], { ...options, noEmit: true }, host)
  return [...files.keys()].flatMap((path, i) => {
    const source = program.getSourceFile(path)
    const syntax = program.getSyntacticDiagnostics(source)
    const found = [...syntax, ...program.getSemanticDiagnostics(source)]
    return found.map(({ start = 0, messageText }) => {
      const line = source?.getLineAndCharacterOfPosition(start).line ?? 0
      const message = ts.flattenDiagnosticMessageText(messageText, '\n')
      return `${blocks[i]?.title}, line ${line + 1}: ${message}`
    })
  })
}

type Run = (...values: unknown[]) => Promise<void>

/** The constructor of async functions, which is not a global. */
const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => Run

/** Runs a block, and returns the lines that it logs. */
export async function runBlock({ code }: Block): Promise<string[]> {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  })
  // a function instead of a module, so that imports resolve to the sources under test
  const body = outputText
    .replace(/^import (\{[^}]*\}) from '([^']+)';$/gm, 'const $1 = await $$import("$2");')
    .replace(/^export \{\};$/m, '')
  const lines: string[] = []
  const log = (...values: unknown[]) => lines.push(values.map(shown).join(' '))
  await new AsyncFunction('$import', 'console', body)((name: string) => import(name), { log })
  return lines
}

const shown = (value: unknown) =>
  typeof value === 'string' ? value : inspect(value, { breakLength: Infinity, depth: 9 })

/** The expected output in the comments after `console.log(...)`. */
export function promisedLines({ code }: Block): string[] {
  return [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(([, line]) => line as string)
}
