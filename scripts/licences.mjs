// The licences of the packages that are part of a bundle.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Failure, root } from './lib.mjs'

/** Licences that allow to be bundled, as long as their text comes along. */
const ALLOWED = ['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause']

const manifestIn = (folder) => {
  const path = join(root, folder, 'package.json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
}

/** The folder of the package that a file in node_modules is of; others in it have no version. */
function packageOf(file) {
  for (let folder = dirname(file); folder !== '.'; folder = dirname(folder))
    if (manifestIn(folder).version) return folder
  throw new Failure(`${file} is of no package.`)
}

function licenceOf(folder) {
  const { name, version, license } = manifestIn(folder)
  if (!ALLOWED.includes(license))
    throw new Failure(`${name} has the licence ${license}: it cannot be bundled.`)
  const file = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file ? readFileSync(join(root, folder, file), 'utf8').trim() : `(${license})`
  return `${name} ${version}, ${license}\n\n${text}\n`
}

/**
 * The text with all of them, which may stand in a comment of HTML.
 *
 * @param files the bundled files
 * @param bundle what they are part of
 */
export function licencesOf(files, bundle) {
  const bundled = files.filter((file) => file.includes('node_modules/'))
  const folders = [...new Set(bundled.map(packageOf))].sort()
  const head = `${bundle} contains these packages:\n`
  return [head, ...folders.map(licenceOf)].join(`\n${'='.repeat(80)}\n\n`)
}
