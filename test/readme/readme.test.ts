import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { promisedLines, readmeBlocks, runBlock, typeErrors } from './blocks.js'

const blocks = readmeBlocks()
const plain = (line: string) => line.replace(/\s/g, '')

describe('the README’s samples', () => {
  const home = process.cwd()
  let folder: string
  // they write files
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
    // what the Python sample writes
    copyFileSync(new URL('../checkpoints/model.pt', import.meta.url), join(folder, 'model.pt'))
    process.chdir(folder)
  })
  afterAll(() => {
    process.chdir(home)
    rmSync(folder, { recursive: true, force: true })
  })

  it('have the right types', () => {
    expect(blocks.length).toBeGreaterThan(15)
    expect(typeErrors(blocks)).toEqual([])
  })

  it.each(blocks.map((block) => [block.title, block] as const))(
    'run, and log what they say: %s',
    async (_, block) => {
      const logged = new Set((await runBlock(block)).map(plain))
      for (const line of promisedLines(block)) expect([...logged]).toContain(plain(line))
    },
  )
})
