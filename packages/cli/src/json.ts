import { readFileSync } from 'node:fs'
import { fileFailure, UsageError } from './errors.js'

/** The JSON of a file. */
export function readJson(path: string, what: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw fileFailure(what, path, error)
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${path} is no JSON: ${(error as Error).message}`)
  }
}
