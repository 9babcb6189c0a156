import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A block of TypeScript in the README. */
export interface Block {
  /** The heading it stands under, and its number there. */
  title: string
  code: string
}

export function readmeBlocks(): Block[] {
  const blocks: Block[] = []
  for (const section of readFileSync(`${root}README.md`, 'utf8').split(/^## /m)) {
    const heading = section.slice(0, section.indexOf('\n'))
    for (const [i, [, code]] of [...section.matchAll(/^```ts\n(.*?)^```$/gms)].entries()) {
      blocks.push({ title: `${heading} ${i + 1}`, code: code as string })
    }
  }
  return blocks
}

/** The options of the project's own tsconfig. */
function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile)
  return ts.parseJsonConfigFileContent(config, ts.sys, root, undefined, `${root}tsconfig.json`)
    .options
}

/** What the compiler says about the blocks, each as a module of its own beside this file. */
export function typeErrors(blocks: readonly Block[]): string[] {
  const options = compilerOptions()
  const files = new Map(blocks.map(({ code }, i) => [`${root}test/readme/block-${i}.ts`, code]))
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.fileExists = (path) => files.has(path) || fileExists(path)
  const program = ts.createProgram([...files.keys()], { ...options, noEmit: true }, host)
  return [...files.keys()].flatMap((path, i) => {
    const source = program.getSourceFile(path)
    return [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ].map((diagnostic) => {
      const line = source?.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line ?? 0
      return `${blocks[i]?.title}, line ${line + 1}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n')}`
    })
  })
}

const AsyncFunction = (async () => {}).constructor as new (
  ...args: string[]
) => (...args: unknown[]) => Promise<void>

/** Runs a block, and gives the lines that it logs. */
export async function runBlock({ code }: Block): Promise<string[]> {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  })
  // a function instead of a module, so that imports give the sources under test
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

/** What the comments behind `console.log(...)` say that it logs. */
export function promisedLines({ code }: Block): string[] {
  return [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(([, line]) => line as string)
}
