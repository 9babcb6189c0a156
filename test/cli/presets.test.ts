// Every preset is a configuration from which a model and an optimizer can be made.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkConfig } from '../../packages/cli/src/config/check.js'
import { presetNames, readPreset } from '../../packages/cli/src/config/presets.js'
import { buildModel, completeModel } from '../../packages/cli/src/model/build.js'
import { packageRoot } from '../../packages/cli/src/root.js'
import { makeOptimizer, makeSchedule } from '../../packages/cli/src/train/optimizer.js'

it.each(presetNames())('%s can be trained', (name) => {
  const { model, train, description } = checkConfig(readPreset(name), name)
  expect(description).toMatch(/\w{4}/)
  expect(train.steps ?? train.seconds).toBeGreaterThan(0)
  const made = buildModel(completeModel(model, { num_tokens: 65, length: train.length }))
  const optimizer = makeOptimizer(made, train)
  expect(made.numParameters).toBeGreaterThan(100_000)
  const schedule = makeSchedule(train, optimizer.lr)
  expect(schedule?.(0, 0)).toBeLessThan(optimizer.lr)
})

it('stand in the documentation', () => {
  const text = readFileSync(join(packageRoot(), 'docs/cli.md'), 'utf8')
  for (const name of presetNames()) expect(text).toContain(`| \`${name}\` |`)
})
