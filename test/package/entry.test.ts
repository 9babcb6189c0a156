// The package as installed: the built files, loaded by Node by package name.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import * as data from 'x-transformers/data'
import * as huggingface from 'x-transformers/huggingface'
import * as report from 'x-transformers/report'
import * as tokenizers from 'x-transformers/tokenizers'
import * as train from 'x-transformers/train'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function node(type: 'module' | 'commonjs', code: string): Promise<unknown> {
  const args = [`--input-type=${type}`, '--eval', code]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
  return JSON.parse(stdout)
}

const FORWARD = `
  async function shape({ TransformerWrapper, Decoder, randint }) {
    const attn_layers = new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 })
    const model = new TransformerWrapper({ num_tokens: 10, max_seq_len: 8, attn_layers })
    return (await model.forward(randint(0, 10, [2, 8]))).shape
  }
`

describe('the built package', () => {
  it('runs a model with import', async () => {
    const code = `import * as x from 'x-transformers'; ${FORWARD}; console.log(JSON.stringify(await shape(x)))`
    expect(await node('module', code)).toEqual([2, 8, 10])
  })

  it('runs a model with require', async () => {
    const code = `${FORWARD}; shape(require('x-transformers')).then((s) => console.log(JSON.stringify(s)))`
    expect(await node('commonjs', code)).toEqual([2, 8, 10])
  })

  it('exports the same names and objects by both, in one process', async () => {
    const code = `
      import { createRequire } from 'node:module'
      import * as a from 'x-transformers'
      const b = createRequire(process.cwd() + '/')('x-transformers')
      const names = Object.keys(b).sort()
      const differing = names.filter((name) => a[name] !== b[name])
      console.log(JSON.stringify({ imported: Object.keys(a).sort(), required: names, differing }))
    `
    const { imported, required, differing } = (await node('module', code)) as Record<
      string,
      string[]
    >
    expect(imported).toEqual(required)
    expect(differing).toEqual([])
  })

  it('keeps the exported names of functions and classes', async () => {
    const code = `
      const named = Object.entries(require('x-transformers')).map(([name, value]) => [name, value.name])
      console.log(JSON.stringify(named.filter(([name, own]) => name !== own)))
    `
    expect(await node('commonjs', code)).toEqual([])
  })

  it('is a few files in Node, since each costs startup time', async () => {
    const code = `
      require('x-transformers')
      console.log(JSON.stringify(Object.keys(require.cache).map((path) => require('path').basename(path))))
    `
    const files = (await node('commonjs', code)) as string[]
    expect(files.filter((name) => !name.endsWith('.node'))).toEqual(['index.js', 'shared.js'])
  })

  it.each(Object.entries({ train, data, tokenizers, report, huggingface }))(
    'has x-transformers/%s by both, with the classes of the package',
    async (part, module) => {
      const code = `
        import { createRequire } from 'node:module'
        import * as a from 'x-transformers/${part}'
        import * as all from 'x-transformers'
        const b = createRequire(process.cwd() + '/')('x-transformers/${part}')
        const names = Object.keys(b).sort()
        const differing = names.filter((name) => a[name] !== b[name] || (all[name] ?? b[name]) !== b[name])
        console.log(JSON.stringify({ imported: Object.keys(a).sort(), required: names, differing }))
      `
      const { imported, required, differing } = (await node('module', code)) as Record<
        string,
        string[]
      >
      const sources = Object.keys(module).sort()
      expect(imported).toEqual(sources)
      expect(required).toEqual(sources)
      expect(differing).toEqual([])
    },
  )

  it('exports the same names as the sources', async () => {
    const sources = Object.keys(await import('x-transformers')).sort()
    const code = `import * as x from 'x-transformers'; console.log(JSON.stringify(Object.keys(x).sort()))`
    expect(await node('module', code)).toEqual(sources)
  })
})
