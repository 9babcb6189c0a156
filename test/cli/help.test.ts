// What the command says of itself, and what it ends with.
import { describe, expect, it } from 'vitest'
import { x } from './command.js'

const COMMANDS = [
  'train',
  'generate',
  'chat',
  'serve',
  'eval',
  'inspect',
  'report',
  'convert',
  'doctor',
]

describe('x-transformers', () => {
  it('lists its commands and exit codes, and each has a help with examples', async () => {
    const { code, stdout } = await x(['--help'])
    expect(code).toBe(0)
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
    expect(stdout).toContain('130')
    const helps = await Promise.all(COMMANDS.map((name) => x([name, '--help'])))
    for (const [i, help] of helps.entries()) {
      expect(help.code).toBe(0)
      expect(help.stdout).toContain(`$ x-transformers ${COMMANDS[i]}`)
    }
  })

  it('needs no addon to say so', async () => {
    const env = { X_TRANSFORMERS_ADDON: '/nowhere.node' }
    for (const args of [['--help'], ['--version'], ['train', '--presets']])
      expect((await x(args, { env })).code).toBe(0)
    const { code, stderr } = await x(['generate', 'nothing'], { env })
    expect(code).toBe(1)
    expect(stderr).toContain('/nowhere.node')
  })

  it('ends with 2 where the command line is wrong, and says what was probably meant', async () => {
    const cases: [string[], string][] = [
      [['trian'], 'Did you mean train?'],
      [['train', '--stepz', '3'], 'Did you mean --steps?'],
      [['train', '--steps', 'many'], 'whole number'],
      [['train', '--preset', 'nanogpt-cup'], 'did you mean nanogpt-cpu?'],
      [['train', '--preset', 'nanogpt-cpu', '--data', 'a.txt'], '--out'],
      [['train', '--preset', 'nanogpt-cpu', '--out', 'a'], '--data'],
      [['train'], '--preset'],
      [['generate'], 'model'],
      [['inspect', '--options', 'Decodre'], 'did you mean Decoder?'],
    ]
    const ended = await Promise.all(cases.map(([args]) => x(args)))
    for (const [i, { code, stderr, stdout }] of ended.entries()) {
      expect(stderr).toContain(cases[i]?.[1])
      expect([code, stdout]).toEqual([2, ''])
    }
  })

  it('ends with 1 where a model is missing', async () => {
    for (const name of ['generate', 'eval', 'serve', 'chat']) {
      const { code, stderr } = await x([name, 'no-such-model'])
      expect([code, stderr.trim()]).toEqual([1, 'there is no model at no-such-model'])
    }
  })
})

describe('doctor', () => {
  it('says what there is, as text and as one line of JSON', async () => {
    const [text, json] = await Promise.all([x(['doctor']), x(['doctor', '--json'])])
    expect(text.code).toBe(0)
    expect(text.stdout).toMatch(/^backend +native addon, .*\.node$/m)
    const report = JSON.parse(json.stdout)
    expect(json.stdout.trim().split('\n')).toHaveLength(1)
    expect(report).toMatchObject({
      node: process.versions.node,
      backend: { target: 'native', threads: expect.any(Number) },
      cuda: { available: expect.any(Boolean) },
      memory: { total: expect.any(Number), available: expect.any(Number) },
      optional: { sharp: expect.stringMatching(/^\d/) },
    })
  })

  it('fails where nothing can compute, with the reason', async () => {
    const { code, stdout } = await x(['doctor'], { env: { X_TRANSFORMERS_ADDON: '/nowhere.node' } })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^backend +none: .*\/nowhere\.node/m)
  })
})
