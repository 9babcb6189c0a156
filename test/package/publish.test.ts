// What is checked before a release, and how it is published.
import { describe, expect, it } from 'vitest'
import { PLATFORMS } from '../../scripts/platforms.mjs'
import { inOrder, objections, publishArguments } from '../../scripts/release/publish.mjs'

const release = {
  version: '1.2.3',
  tag: 'v1.2.3',
  changelog: '# Changelog\n\n## 1.2.3\n\n- A line.\n',
  addons: Object.keys(PLATFORMS).map((name) => ({ name, size: 1e6 })),
  hasThreads: true,
}

describe('a release', () => {
  it('is possible where everything is there', () => {
    expect(objections(release)).toEqual([])
    expect(objections({ ...release, tag: null })).toEqual([])
  })

  it.each([
    ['The tag is v1.2.4', { tag: 'v1.2.4' }],
    ['CHANGELOG.md has no heading "## 1.2.3"', { changelog: '## 1.2.3, not released yet\n' }],
    ['CHANGELOG.md has no heading "## 1.2.3"', { changelog: '## 1x2x3\n' }],
    ['no addon for darwin-arm64', { addons: release.addons.slice(1) }],
    ['not built to publish', { addons: [...release.addons, { name: 'darwin-x64', size: 2e7 }] }],
    ['with threads is missing', { hasThreads: false }],
  ])('is refused: %s', (message, change) => {
    const found = objections({ ...release, ...change })
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(message)
  })

  it('publishes the package after the addons that it asks for', () => {
    expect(inOrder(['package', 'a', 'b'])).toEqual(['a', 'b', 'package'])
  })

  it('is signed in a workflow, and is not the latest where it is a preview', () => {
    const args = (version: string, dry: boolean, inWorkflow: boolean) =>
      publishArguments('a.tgz', version, { dry, inWorkflow }).slice(4).join(' ')
    expect(args('1.2.3', false, true)).toBe('--provenance')
    expect(args('1.2.3-next.0', false, true)).toBe('--tag next --provenance')
    expect(args('1.2.3', true, true)).toBe('--dry-run')
    expect(args('1.2.3', false, false)).toBe('')
  })
})
