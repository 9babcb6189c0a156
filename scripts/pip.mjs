// Packages of Python, by pip, in folders of the cache: nothing is installed into a Python.
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { run } from './lib.mjs'

/**
 * Fetches wheels, without what they depend on, into a folder that is there when all of it is.
 *
 * @returns whether that worked; a message of pip says why not
 */
export async function fetchWheels(python, folder, wheels, isWhole = () => true) {
  const unfinished = `${folder}.${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  const pip = ['-m', 'pip', 'install', '--no-deps', '--no-cache-dir', '--target', unfinished]
  const quiet = ['--quiet', '--disable-pip-version-check', '--root-user-action=ignore']
  const { code } = await run(python, [...pip, ...quiet, '--only-binary', ':all:', ...wheels])
  if (code !== 0 || !isWhole(unfinished)) {
    rmSync(unfinished, { recursive: true, force: true })
    return false
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(unfinished, folder)
  return true
}
