// Runs of `x-transformers train`: their files and results, stops of every kind, and mistakes.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLI, lastJson as json, SMALL, scratch, smallRun, start, x } from './command.js'

let place: ReturnType<typeof scratch>
beforeAll(() => {
  place = scratch()
})
afterAll(() => place.remove())

/** A model without a longest row. */
const ENDLESS = JSON.stringify({
  model: {
    class: 'TransformerWrapper',
    options: {
      max_seq_len: 0,
      attn_layers: { class: 'Decoder', options: { dim: 16, depth: 1, heads: 2 } },
    },
  },
})

const at = (name: string) => join(place.folder, name)
const small = (out: string, more: readonly string[] = []) => smallRun(place.text, at(out), more)

describe('train', () => {
  it('ends with one line of JSON, and keeps all that the model needs', async () => {
    const { code, stdout, stderr } = await x(small('whole', ['--steps', '30']))
    expect(code, stderr).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(1)
    expect(json(stdout)).toMatchObject({
      steps: 30,
      seconds: expect.any(Number),
      train_loss: expect.any(Number),
      val_loss: expect.any(Number),
      tokens_per_second: expect.any(Number),
      checkpoint: at('whole/model.safetensors'),
      reason: 'finished',
    })
    expect(json(stdout).val_loss).toBeLessThan(Math.log(30))
    const own = ['metrics.jsonl', 'report.html', 'model.safetensors', 'step-30']
    const files = ['config.json', 'tokenizer.json', ...own]
    expect(readdirSync(at('whole'))).toEqual(expect.arrayContaining(files))
    const config = JSON.parse(readFileSync(at('whole/config.json'), 'utf8'))
    const { num_tokens, max_seq_len } = config.model.options.net.options
    expect([num_tokens, max_seq_len, config.train.steps]).toEqual([22, 16, 30])
    expect(config.data.files).toEqual([place.text])
  })

  it('leaves attention out of the report of a model that has none', async () => {
    const layers = 'model.options.net.options.attn_layers.options.custom_layers=["f"]'
    const { code, stderr } = await x(small('without', ['--steps', '5', layers]))
    expect(code, stderr).toBe(0)
    const report = readFileSync(at('without/report.html'), 'utf8')
    const [, data] = report.match(/id="data">(.*?)<\/script>/) ?? []
    const { title, runs } = JSON.parse(data as string)
    expect(runs).toMatchObject([{ name: title, attention: null, done: { steps: 5 } }])
    expect(runs[0].steps.step).toEqual([1, 2, 3, 4, 5])
  })

  it('gives the same losses again, others with another seed', async () => {
    const of = async (out: string, seed: string) =>
      json((await x(small(out, ['--steps', '5', '--seed', seed]))).stdout).val_loss
    const [one, again, other] = await Promise.all([of('s1', '1'), of('s2', '1'), of('s3', '2')])
    expect(again).toBe(one)
    expect(other).not.toBe(one)
  })

  it('goes on after SIGKILL as if nothing had happened', async () => {
    const more = ['--steps', '400', 'checkpoint.every=20', 'eval.every=50', 'sample.every=30']
    const whole = json((await x(small('unbroken', more))).stdout)
    const { child, ended } = start([CLI, ...small('killed', more)])
    while (child.exitCode === null && !existsSync(at('killed/step-60/trainer.json'))) await sleep(5)
    child.kill('SIGKILL')
    const { signal, stdout } = await ended
    expect([signal, stdout]).toEqual(['SIGKILL', ''])
    const resumed = await x(['train', '--resume', '--out', at('killed'), '--json'])
    expect(resumed.code, resumed.stderr).toBe(0)
    const { train_loss, val_loss, best, steps } = json(resumed.stdout)
    expect({ train_loss, val_loss, best, steps }).toEqual({
      train_loss: whole.train_loss,
      val_loss: whole.val_loss,
      best: whole.best,
      steps: 400,
    })
    // each step once, although some were computed twice
    const losses = (name: string) =>
      readFileSync(at(`${name}/metrics.jsonl`), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
        .filter(({ type }) => type === 'step')
        .map(({ step, loss }) => [step, loss])
    expect(losses('killed')).toEqual(losses('unbroken'))
    expect(losses('killed')).toHaveLength(400)
    const model = (name: string) => readFileSync(at(`${name}/model.safetensors`))
    expect(model('killed').equals(model('unbroken'))).toBe(true)
  })

  it('ends after Ctrl-C with a checkpoint and 130, and at once after the second', async () => {
    for (const presses of [1, 2]) {
      const out = `stopped-${presses}`
      const { child, ended } = start([CLI, ...small(out, ['--steps', '1000000'])])
      const begun = () => child.exitCode !== null || existsSync(at(`${out}/step-250/trainer.json`))
      while (!begun()) await sleep(5)
      child.kill('SIGINT')
      // npm passes the signal on a second time: what comes at once is the same key press
      await sleep(presses === 2 ? 450 : 0)
      if (presses === 2) child.kill('SIGINT')
      const { code, stdout, stderr } = await ended
      expect([code, stdout]).toEqual([130, ''])
      if (presses === 1) expect(stderr).toMatch(/Stopped at step \d+, with a checkpoint/)
      expect(readdirSync(at(out))).toContain('config.json')
    }
  })

  it('steps with Muon, clips by norm and value, and keeps averages of the weights', async () => {
    const muon = '{"class":"Muon","lr":0.02,"weight_decay":0.1,"others":{"lr":3e-3}}'
    const settings = [`train.optimizer=${muon}`, 'train.clip={"norm":1,"value":0.01}']
    const more = ['--steps', '40', '--validation', place.text, ...settings]
    const [plain, averaged] = await Promise.all([
      x(small('muon', more)),
      x(small('averaged', [...more, 'train.ema={"decay":0.9,"warmup":true}'])),
    ])
    expect(plain.code, plain.stderr).toBe(0)
    expect(averaged.code, averaged.stderr).toBe(0)
    // the averages change nothing of the run, but what is measured and kept
    const [one, other] = [json(plain.stdout), json(averaged.stdout)]
    expect(other.train_loss).toBe(one.train_loss)
    expect(other.val_loss).not.toBe(one.val_loss)
    expect(Math.max(one.val_loss, other.val_loss)).toBeLessThan(Math.log(22))
    const kept = readFileSync(at('averaged/model.safetensors'))
    expect(kept.equals(readFileSync(at('averaged/step-40/ema.safetensors')))).toBe(true)
    const measured = await x(['eval', at('averaged'), '--data', place.text, '--json'])
    expect(measured.code, measured.stderr).toBe(0)
    expect(json(measured.stdout).loss).toBeCloseTo(other.val_loss, 6)
  })

  it('clips by value, and gives Muon and AdamW rates and decays of their own', async () => {
    const first = async (out: string, ...settings: string[]) => {
      const { code, stdout, stderr } = await x(small(out, ['--steps', '3', ...settings]))
      expect(code, stderr).toBe(0)
      return json(stdout).val_loss as number
    }
    const muon = (others: string) => `train.optimizer={"class":"Muon","lr":0.02${others}}`
    const losses = await Promise.all([
      first('value', 'train.optimizer={"class":"SGD","lr":1}', 'train.clip={"value":1e-9}'),
      first('free', 'train.optimizer={"class":"SGD","lr":1}', 'train.clip=null'),
      first('same', muon('')),
      first('apart', muon(',"others":{"lr":3e-3}')),
      first('decay', muon(',"weight_decay":0.1,"others":{"weight_decay":9}')),
      first('plain', muon(',"weight_decay":0.1')),
    ])
    expect(new Set(losses).size).toBe(losses.length)
    expect(losses[0]).toBeGreaterThan(losses[1] as number)
  })

  it('refuses a folder with a run, unless it is to be replaced', async () => {
    const first = await x(small('twice', ['--steps', '2']))
    expect(first.code, first.stderr).toBe(0)
    const second = await x(small('twice', ['--steps', '3']))
    expect(second.code).toBe(2)
    expect(second.stderr).toContain('--resume')
    const third = await x(small('twice', ['--steps', '3', '--overwrite']))
    expect(json(third.stdout).steps).toBe(3)
    expect(readdirSync(at('twice')).filter((name) => name.startsWith('step-'))).toEqual(['step-3'])
  })

  it('goes on longer where --steps says so, and begins with another model with --init', async () => {
    await x(small('longer', ['--steps', '10']))
    const resume = ['train', '--resume', '--out', at('longer'), '--steps', '20', '--json']
    expect(json((await x(resume)).stdout).steps).toBe(20)
    const init = ['--init', at('longer'), '--steps', '1']
    const { stdout } = await x(small('init', init))
    const [from, fresh] = [json(stdout).val_loss, Math.log(22)]
    expect(from).toBeLessThan(fresh - 0.1)
  })

  it('names what is wrong with a configuration, with the place and what was meant', async () => {
    const cases: [string, string][] = [
      [
        'attn_layers.hedas=3',
        'attn_layers.options.hedas: is not an option here; did you mean heads?',
      ],
      ['train.step=3', 'train.step: is not known here; did you mean steps?'],
      ['train.batch_size=two', 'train.batch_size: must be a number, got "two"'],
      ['train.eval.evry=2', 'train.eval.evry: is not known here; did you mean every?'],
      ['optimizer.class=AdmW', 'did you mean AdamW?'],
      ['optimizer.beta=1', 'train.optimizer: AdamW'],
      [
        'train.optimizer={"class":"SGD","lr":1,"others":{"lr":2}}',
        'train.optimizer.others: is for',
      ],
      ['sample.prompt=Ω', 'train.sample.prompt: '],
      ['schedule.name=cosine', 'there is no schedule (train.schedule.name) named cosine'],
      ['model.class=Decodr', 'model'],
      ['dpeth=3', 'did you mean depth?'],
      ['depth', 'key=value'],
    ]
    for (const [setting, message] of cases) {
      const args = ['train', ...SMALL, setting, '--data', place.text, '--out', at('wrong')]
      const { code, stderr } = await x(args)
      expect(stderr).toContain(message)
      expect(code, stderr).toBe(2)
    }
    expect(existsSync(at('wrong/config.json'))).toBe(false)
  })

  it('takes a configuration from a file, with paths beside it', async () => {
    const dry = await x(['train', ...SMALL, '--dry-run'])
    const config = JSON.parse(dry.stdout)
    config.data = { files: 'text.txt', validation: 'text.txt' }
    writeFileSync(at('config.json'), JSON.stringify(config))
    const args = ['train', at('config.json'), '--out', at('file'), '--steps', '2', '--json']
    const { code, stdout, stderr } = await x(args)
    expect(code, stderr).toBe(0)
    expect(json(stdout).val_loss).toBeGreaterThan(1)
    writeFileSync(at('broken.json'), '{"model": ')
    const broken = await x(['train', at('broken.json'), '--out', at('broken')])
    expect([broken.code, broken.stderr]).toEqual([2, expect.stringContaining('is no JSON')])
    for (const [text, message] of [
      ['null', 'it must be an object, got null'],
      ['[1]', 'it must be an object, got [1]'],
      ['{"model":{"class":"TransformerWrapper"}}', 'max_seq_len'],
      [ENDLESS, 'give train.length: the model has a max_seq_len of 0'],
      ['{"model":{"class":5}}', 'model.class: must be a text, got 5'],
    ] as const) {
      writeFileSync(at('odd.json'), text)
      const more = ['--data', place.text, '--steps', '1', '--out', at('odd')]
      const odd = await x(['train', at('odd.json'), ...more])
      expect([odd.code, odd.stderr]).toEqual([2, expect.stringContaining(message)])
    }
  })

  it('trains a model without a longest row, and measures it', async () => {
    const more = ['max_seq_len=0', '--steps', '2']
    const { code, stdout, stderr } = await x(small('endless', more))
    expect(code, stderr).toBe(0)
    expect(json(stdout).val_loss).toBeGreaterThan(1)
    const measured = await x(['eval', at('endless'), '--json'])
    expect([measured.code, json(measured.stdout).length], measured.stderr).toEqual([0, 16])
    const alone = ['eval', at('endless/model.safetensors'), '--data', place.text, '--json']
    const whole = await x([...alone, '--length', '40'])
    expect([whole.code, json(whole.stdout).length], whole.stderr).toEqual([0, 40])
    const seen = await x(['inspect', at('endless')])
    expect([seen.code, seen.stdout], seen.stderr).toEqual([
      0,
      expect.stringMatching(/1 x 1,?024 tokens/),
    ])
  })

  it('learns from JSON Lines with byte pairs, from bytes, and from token ids', async () => {
    const lines = Array.from({ length: 200 }, (_, i) => JSON.stringify({ text: `line ${i} of it` }))
    writeFileSync(at('lines.jsonl'), lines.join('\n'))
    const bpe = ['tokenizer={"type":"bpe","vocab_size":280}', '--steps', '2']
    const first = await x([...small('bpe', bpe), '--data', at('lines.jsonl')])
    expect(first.code, first.stderr).toBe(0)
    const { model } = JSON.parse(readFileSync(at('bpe/tokenizer.json'), 'utf8'))
    expect(model.type).toBe('BPE')
    const tokenizer = at('bpe/tokenizer.json')
    const ids = await x(['convert', place.text, at('ids.bin'), '--tokenizer', tokenizer, '--json'])
    expect(json(ids.stdout).tokens).toBeGreaterThan(500)
    const second = await x([
      ...small('ids', ['--steps', '2', '--tokenizer', tokenizer]),
      ...['--data', at('ids.bin')],
    ])
    expect(second.code, second.stderr).toBe(0)
    const bytes = await x(small('bytes', ['--steps', '2', '--tokenizer', 'byte']))
    expect(bytes.code, bytes.stderr).toBe(0)
  })
})
