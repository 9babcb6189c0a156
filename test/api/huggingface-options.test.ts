// What a config.json of Hugging Face is in options of ours: test/huggingface has the recordings.
import { describe, expect, it } from 'vitest'
import { describeConfig } from '../../ts/huggingface/describe.js'
import { FAMILIES } from '../../ts/huggingface/families/index.js'
import { CASES, recordedCase } from './huggingface.js'

describe('the recorded configurations', () => {
  it('are of every family', async () => {
    const all = await Promise.all(CASES.map(recordedCase))
    const types = new Set(all.map(({ config }) => config.model_type))
    expect([...types].sort()).toEqual(FAMILIES.flatMap(({ types }) => types).sort())
  })

  it.each(CASES)('ask for the same in the words of transformers 4 and 5: %s', async (name) => {
    const { config, published_config } = await recordedCase(name)
    const { plan } = describeConfig(config)
    expect(describeConfig(published_config).plan).toEqual(plan)
  })
})
