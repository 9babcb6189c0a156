// The pages of the documentation, README.md and docs/*.md, with their blocks of code and links.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** A text in Markdown. */
export interface Page {
  /** Its path from the root of the repository: `docs/memory.md`. */
  path: string
  text: string
}

/** A block of code in a page. */
export interface Block {
  /** The page, the heading above the block, and the block's number under that heading. */
  title: string
  /** The language after the opening fence: `ts`, `sh`, `html`. */
  language: string
  code: string
  /** Why the block cannot run: from the comment `<!-- not run: REASON -->` above it. */
  notRun: string | null
}

function read(path: string): Page {
  const text = readFileSync(`${root}${path}`, 'utf8')
  return { path, text: text.replaceAll('\r\n', '\n') }
}

const markdownIn = (folder: string) =>
  readdirSync(`${root}${folder}`)
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => read(folder + name))

/** README.md first, then docs/*.md. */
export const documentation = (): Page[] => [read('README.md'), ...markdownIn('docs/')]

/** The documentation, and the other Markdown files at the root: CONTRIBUTING.md and the like. */
export const allPages = (): Page[] => [...markdownIn(''), ...markdownIn('docs/')]

const HEADING = /^#{1,6} +(.*)$/
const FENCE = /^```(\S*)$/
const NOT_RUN = /^<!-- not run: (.+) -->$/

/** A line of a page. */
interface Line {
  line: string
  /** Whether it is in a block of code; the fences count as well. */
  isCode: boolean
}

function* linesOf({ text }: Page): Generator<Line> {
  let isCode = false
  for (const line of text.split('\n')) {
    const isFence = FENCE.test(line)
    yield { line, isCode: isCode || isFence }
    if (isFence) isCode = !isCode
  }
}

/** The lines outside blocks of code. */
export function proseOf(page: Page): string[] {
  const lines = [...linesOf(page)]
  return lines.filter(({ isCode }) => !isCode).map(({ line }) => line)
}

/** The blocks of code of a page. */
export function blocksOf(page: Page): Block[] {
  const blocks: Block[] = []
  let [heading, number, above] = ['', 0, '']
  let open: Block | null = null
  for (const { line } of linesOf(page)) {
    const language = line.match(FENCE)?.[1]
    if (open && language === '') {
      blocks.push(open)
      open = null
    } else if (open) {
      open.code += `${line}\n`
    } else if (language !== undefined) {
      const title = `${page.path}, ${heading} ${++number}`
      open = { title, language, code: '', notRun: above.match(NOT_RUN)?.[1] ?? null }
    } else {
      const next = line.match(HEADING)?.[1]
      if (next !== undefined) [heading, number] = [next, 0]
    }
    if (line.trim()) above = line
  }
  if (open) throw new Error(`${open.title}: the block has no end`)
  return blocks
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: Page): Set<string> {
  const anchors = new Set<string>()
  for (const line of proseOf(page)) {
    const heading = line.match(HEADING)?.[1]
    if (heading === undefined) continue
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = words.replaceAll(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-')
    let unique = anchor
    for (let i = 1; anchors.has(unique); i++) unique = `${anchor}-${i}`
    anchors.add(unique)
  }
  return anchors
}

/** The targets of the links and pictures of a page. */
export const linksOf = (page: Page): string[] =>
  [
    ...proseOf(page)
      .join('\n')
      .matchAll(/\]\(([^)\s]+)\)|<img[^>]* src="([^"]+)"/g),
  ].map(([, link, image]) => (link ?? image) as string)
