import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadTensorsSync, saveTensorsSync } from 'x-transformers'
import { checkConfig } from '../../packages/cli/src/config/check.js'
import { promisedLines, runBlock, typeErrors } from './blocks.js'
import { unknownCommands } from './commands.js'
import { importedAddresses, moduleScripts } from './html.js'
import { writeModels } from './models.js'
import type { Block, Page } from './pages.js'
import { allPages, anchorsOf, blocksOf, documentation, linksOf, proseOf, root } from './pages.js'

const pages = documentation()
const blocks = pages.flatMap(blocksOf)
const of = (language: string) => blocks.filter((block) => block.language === language)
const running = of('ts').filter(({ notRun }) => notRun === null)
const html = of('html')
const configurations = of('json').filter(({ notRun }) => notRun === null)

/** Kinds of blocks that are checked here; any other kind needs a reason. */
const CHECKED = ['ts', 'html', 'sh', 'json']

/** The file of an example that a block shows a part of; `npm run check:install` runs it. */
const exampleOf = ({ notRun }: Block) => notRun?.match(/^from (examples\/\S+)$/)?.[1] ?? null
const examples = blocks.filter((block) => exampleOf(block) !== null)

const plain = (line: string) => line.replace(/\s/g, '')
const named = (list: readonly Block[]) => list.map((block) => [block.title, block] as const)

describe('the code in README.md and docs', () => {
  const home = process.cwd()
  let folder: string
  // some blocks write files
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
    // files that the Python block writes
    copyFileSync(new URL('../checkpoints/model.pt', import.meta.url), join(folder, 'model.pt'))
    writeModels(join(folder, 'models'))
    const recording = new URL('../x-transformers-2/kv-heads.safetensors', import.meta.url)
    const { tensors } = loadTensorsSync(fileURLToPath(recording))
    const weights = [...tensors].filter(([name]) => name.startsWith('param.'))
    const named = weights.map(([name, weight]) => [name.slice('param.'.length), weight] as const)
    saveTensorsSync(new Map(named), join(folder, 'model-of-2.safetensors'))
    process.chdir(folder)
  })
  afterAll(() => {
    process.chdir(home)
    rmSync(folder, { recursive: true, force: true })
  })

  it('is found', () => {
    expect(running.length).toBeGreaterThan(30)
    expect(html.flatMap(moduleScripts).length).toBeGreaterThan(0)
    expect(of('sh').length).toBeGreaterThan(2)
  })

  it('type-checks', () => {
    expect(
      typeErrors([
        ...of('ts').filter((block) => exampleOf(block) === null),
        ...html.flatMap(moduleScripts),
      ]),
    ).toEqual([])
  })

  it.each(named(running))('runs, and logs what its comments say: %s', async (_, block) => {
    const logged = new Set((await runBlock(block)).map(plain))
    for (const line of promisedLines(block)) expect([...logged]).toContain(plain(line))
  })

  it.each(named(configurations))('is a configuration of the command: %s', (title, { code }) => {
    expect(checkConfig(JSON.parse(code), title).train.steps).toBeGreaterThan(0)
  })

  it('has a reason where it is not run', () => {
    const unchecked = blocks.filter(({ language }) => !CHECKED.includes(language))
    const silent = unchecked.filter(({ notRun }) => notRun === null)
    expect(silent.map(({ title }) => title)).toEqual([])
    const notRun = blocks.filter((block) => block.notRun !== null && exampleOf(block) === null)
    const reasons = notRun.map((block) => `${block.title}: ${block.notRun}`)
    console.log(`Not run:\n${reasons.join('\n')}`)
    expect(reasons.length).toBeLessThanOrEqual(4)
  })

  it.each(named(examples))('is in the example that it comes from: %s', (_, block) => {
    const text = readFileSync(join(root, exampleOf(block) as string), 'utf8')
    expect(text.replaceAll('\r\n', '\n')).toContain(block.code)
  })

  it('uses exported files of the package in import maps', () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const exported = JSON.stringify(exports)
    const addresses = html.flatMap(importedAddresses)
    expect(addresses.length).toBeGreaterThan(0)
    for (const address of addresses) {
      expect(exported).toContain(`"${address.replace('/node_modules/x-transformers', '.')}"`)
    }
  })
})

/** The page or file that a link refers to, and the anchor. */
function followed(page: Page, link: string) {
  const [path = '', anchor] = link.split('#')
  return { path: path ? normalize(join(dirname(page.path), path)) : page.path, anchor }
}

describe.each(allPages().map((page) => [page.path, page] as const))('%s', (_, page) => {
  it('names commands that exist', () => {
    expect(unknownCommands(page)).toEqual([])
  })

  it('has valid links', () => {
    const broken = linksOf(page).filter((link) => {
      if (/^https?:/.test(link)) return false
      const { path, anchor } = followed(page, link)
      if (!existsSync(join(root, path))) return true
      if (anchor === undefined) return false
      const target = allPages().find((other) => other.path === path)
      return !target || !anchorsOf(target).has(anchor)
    })
    expect(broken).toEqual([])
  })
})

describe('the pages', () => {
  it('are all reachable from docs/README.md', () => {
    const index = pages.find(({ path }) => path === 'docs/README.md') as Page
    const reached = new Set(linksOf(index).map((link) => followed(index, link).path))
    const missing = pages.filter((page) => page !== index && !reached.has(page.path))
    expect(missing.map(({ path }) => path)).toEqual([])
  })

  it('have lines of at most 100 columns outside of tables', () => {
    const wide = pages.flatMap((page) => {
      const prose = proseOf(page).filter((line) => !line.startsWith('|'))
      const lines = [...prose, ...blocksOf(page).flatMap(codeLines)]
      return lines.filter((line) => line.length > 100).map((line) => `${page.path}: ${line}`)
    })
    expect(wide).toEqual([])
  })

  it('begin with a README.md of at most 9,000 bytes', () => {
    const [readme] = pages
    expect(readme?.path).toBe('README.md')
    expect(Buffer.byteLength(readme?.text as string)).toBeLessThanOrEqual(9000)
  })

  it('contain the marks between which `npm run generate` writes the tables of options', () => {
    const options = pages.find(({ path }) => path === 'docs/options.md')?.text
    const [, tables = '', after] = options?.split(/<!-- options:(?:start|end) -->/) ?? []
    expect(after).toBeDefined()
    for (const name of ['Attention', 'XTransformer', 'generate, stream', 'AdamW', 'cosineWarmup']) {
      expect(tables).toContain(`<summary><b>${name}</b></summary>`)
    }
  })
})

const codeLines = ({ code }: Block) => code.split('\n')
