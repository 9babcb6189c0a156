// One version for the package, its platform packages (scripts/pack.mjs) and the crates: that of
// package.json. `npm run release:version` lets changesets raise it, and then runs this.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../lib.mjs'

/** The crates of other projects have a source in Cargo.lock; those of this one have none. */
const OWN = /(\[\[package\]\]\nname = "([\w-]+)"\nversion = ")([^"]+)("\n(?!source))/g

const WORKSPACE = /(\[workspace\.package\]\nversion = ")([^"]+)(")/g
const DEPENDENCY = /^((xt-[\w-]+) = \{ path = "[^"]+", version = ")=([^"]+)(")/gm

/** Where else the version stands: how it is read, and how it is set. */
const FILES = {
  'Cargo.toml': {
    read: (text) => [
      ...Array.from(text.matchAll(WORKSPACE), ([, , version]) => ['workspace', version]),
      ...Array.from(text.matchAll(DEPENDENCY), ([, , name, version]) => [name, version]),
    ],
    write: (text, version) =>
      text.replace(WORKSPACE, `$1${version}$3`).replace(DEPENDENCY, `$1=${version}$4`),
  },
  'Cargo.lock': {
    read: (text) => Array.from(text.matchAll(OWN), ([, , name, version]) => [name, version]),
    write: (text, version) => text.replace(OWN, `$1${version}$4`),
  },
  'package-lock.json': {
    read(text) {
      const lock = JSON.parse(text)
      return [
        ['lock', lock.version],
        ['package', lock.packages[''].version],
      ]
    },
    write(text, version) {
      const lock = JSON.parse(text)
      lock.version = version
      lock.packages[''].version = version
      return `${JSON.stringify(lock, null, 2)}\n`
    },
  },
}

export const FILES_WITH_VERSION = Object.keys(FILES)

/** The versions in the text of a file, by what has them: `[name, version]`. */
export const versionsIn = (file, text) => FILES[file].read(text)

/** The text of a file with another version. */
export const withVersion = (file, text, version) => FILES[file].write(text, version)

const PREFACE = /\n\nVersions follow [\s\S]*?(?=\n\n)/

/** Changesets adds a version below the title, which puts what stood there behind it. */
export function withPreface(changelog) {
  const preface = changelog.match(PREFACE)?.[0]
  if (!preface) return changelog
  return changelog.replace(preface, '').replace('\n', `${preface}\n`)
}

function rewrite(file, change) {
  const path = join(root, file)
  const text = readFileSync(path, 'utf8')
  const changed = change(text)
  if (changed !== text) writeFileSync(path, changed)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const file of FILES_WITH_VERSION) rewrite(file, (text) => withVersion(file, text, version))
  rewrite('CHANGELOG.md', withPreface)
  console.log(`All have the version ${version}.`)
}
