// What a run keeps in its folder, goes on with, and leaves as it was.
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LoRA, load, randn, type Tensor } from 'x-transformers'
import { CharacterTokenizer } from 'x-transformers/tokenizers'
import { modelFile } from '../../packages/cli/src/model/files.js'
import { expectClose, numbers } from '../api/helpers.js'
import { CLI, lastJson, scratch, smallRun, start, x } from './command.js'

let place: ReturnType<typeof scratch>
beforeAll(() => {
  place = scratch()
})
afterAll(() => place.remove())

const at = (name: string) => join(place.folder, name)
const json = (path: string) => JSON.parse(readFileSync(at(path), 'utf8'))
const small = (out: string, more: readonly string[] = []) => smallRun(place.text, at(out), more)

/** Runs to the end, and gives what it has come to. */
async function done(args: readonly string[], cwd?: string) {
  const { code, stdout, stderr } = await x(args, cwd === undefined ? {} : { cwd })
  expect(code, stderr).toBe(0)
  return lastJson(stdout)
}

/** Is refused, with a message. */
async function refused(args: readonly string[], message: string, exit = 2) {
  const { code, stderr } = await x(args)
  expect(stderr).toContain(message)
  expect(code).toBe(exit)
}

/** The steps in the metrics of a run. */
const stepsOf = (run: string): { step: number; lr: number; share: number }[] =>
  readFileSync(at(`${run}/metrics.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === 'step')

describe('a run by epochs', () => {
  it('has the rates of its steps, and a share that grows with each', async () => {
    const schedule = 'train.schedule={"name":"cosineWarmup","warmup_steps":10,"min_lr":1e-5}'
    const more = ['train.windows=consecutive', 'train.epochs=2', 'optimizer.lr=1e-3', schedule]
    const { steps } = await done(small('epochs', more))
    // 242 windows of 3,888 characters
    expect(steps).toBe(2 * Math.floor(242 / 4))
    const heard = stepsOf('epochs')
    expect(heard.map(({ lr }) => lr).indexOf(1e-3)).toBe(9)
    expect(heard.at(-1)?.lr).toBeLessThan(1.1e-5)
    for (const [i, { share }] of heard.entries()) expect(share).toBeCloseTo((i + 1) / steps, 5)
  })

  it.each(['random', 'consecutive'])('goes on where epochs are raised: %s', async (windows) => {
    const run = `raised-${windows}`
    const { steps } = await done(small(run, [`train.windows=${windows}`, 'train.epochs=1']))
    const more = ['train', '--resume', '--out', at(run), '--json', '--set', 'train.epochs=2']
    expect((await done(more)).steps).toBeGreaterThan(steps * 1.9)
  })
})

describe('a run that cannot begin', () => {
  it('leaves the one that it would have replaced', async () => {
    await done(small('old', ['--steps', '2']))
    const before = readdirSync(at('old')).sort()
    writeFileSync(at('short.txt'), 'Call')
    const again = ['--steps', '3', '--overwrite']
    await refused(small('old', [...again, '--validation', at('short.txt')]), 'held-out text')
    await refused(small('old', [...again, 'train.length=9999', 'max_seq_len=9999']), 'the data')
    expect(readdirSync(at('old')).sort()).toEqual(before)
    expect((await done(['train', '--resume', '--out', at('old'), '--json'])).steps).toBe(2)
  })

  it('can go on after a try with another model', async () => {
    await done(small('kept', ['--steps', '2']))
    const config = json('kept/config.json')
    const resume = ['train', '--resume', '--out', at('kept'), '--json', '--steps', '4']
    const failed = await x([...resume, '--set', 'depth=3'])
    expect(failed.code).toBe(1)
    expect(json('kept/config.json')).toEqual(config)
    expect((await done(resume)).steps).toBe(4)
  })

  it('writes into no folder with such files of others', async () => {
    mkdirSync(at('other'))
    writeFileSync(at('other/config.json'), '{"architectures":["GPT2"]}')
    await refused(small('other', ['--steps', '2']), 'config.json')
    expect(json('other/config.json')).toEqual({ architectures: ['GPT2'] })
    expect(readdirSync(at('other'))).toEqual(['config.json'])
  })
})

describe('paths of --set', () => {
  it('are those of the folder that the command was given in', async () => {
    writeFileSync(at('held.txt'), readFileSync(place.text))
    const settings = ['data.files=["text.txt"]', 'data.validation=held.txt', '--steps', '1']
    const args = small('paths', settings).filter((text) => text !== '--data' && text !== place.text)
    await done(args, place.folder)
    const { data } = json('paths/config.json')
    expect([data.files, data.validation]).toEqual([[place.text], [at('held.txt')]])
    await done(['train', '--resume', '--out', at('paths'), '--json', '--steps', '2'])
    const tokenizer = ['tokenizer=paths/tokenizer.json', '--steps', '1']
    await done(small('named', tokenizer), place.folder)
    expect(json('named/config.json').tokenizer).toBe(at('paths/tokenizer.json'))
  })
})

describe('--init', () => {
  beforeAll(async () => {
    await done(small('first', ['--steps', '40']))
  })
  const init = (...more: string[]) => ['--init', at('first'), ...more]

  it('is written down, with the model and the tokenizer of the other run', async () => {
    await done(small('second', init('--steps', '1')))
    const { init: from, model, tokenizer } = json('second/config.json')
    expect([from, tokenizer]).toEqual([at('first'), at('first/tokenizer.json')])
    expect(model).toEqual(json('first/config.json').model)
    const again = ['train', '--resume', '--out', at('second'), '--json', '--steps', '2']
    expect((await done([...again, '--init', at('first')])).steps).toBe(2)
    await refused([...again, '--init', at('second')], 'has begun with')
  })

  it('is refused with another model, or another tokenizer', async () => {
    await refused(small('third', init('depth=2')), 'attn_layers.options.depth: 2, and 1')
    await refused(small('third', init('attn_layers.rotary_pos_emb=true')), 'rotary_pos_emb: true')
    await refused(small('third', init('heads=4')), 'heads: 4, and 2 there')
    await refused(small('third', init('--tokenizer', 'byte')), 'tokenizer: "byte"')
    await refused(small('third', init('depth=2')), 'Leave these out')
    writeFileSync(at('other.json'), JSON.stringify(new CharacterTokenizer(['a', 'b'])))
    await refused(small('third', init('--tokenizer', at('other.json'))), 'tokenizer: ')
    expect(readdirSync(at('third'))).toEqual([])
  })

  it('may be given with options that are named, and have their defaults in the model', async () => {
    const defaults = ['rotary_pos_emb=false', 'ff_mult=4', 'attn_dropout=0']
    const settings = defaults.map((setting) => `attn_layers.${setting}`)
    await done(small('named-defaults', init('--steps', '1', ...settings)))
    expect(json('named-defaults/config.json').model).toEqual(json('first/config.json').model)
  })

  it('is fine-tuned by low-rank updates alone, which have a file of their own', async () => {
    const lora = 'train.lora={"target_modules":"*.to_q","r":2,"lora_alpha":4}'
    const more = [lora, 'checkpoint.every=5', ...init('--steps', '5')]
    const { adapter } = await done(small('tuned', more))
    expect(adapter).toBe(at('tuned/adapter.safetensors'))
    const resume = ['train', '--resume', '--out', at('tuned'), '--json', '--steps', '10']
    expect((await done(resume)).steps).toBe(10)
    const [base, tuned] = [
      await load(at('first/model.safetensors')),
      await load(at('tuned/model.safetensors')),
    ]
    const [own] = LoRA.of(tuned) as [LoRA]
    expect([own.r, own.scale, own.modules.length]).toEqual([2, 2, 1])
    const state = tuned.stateDict()
    for (const [name, tensor] of base.stateDict())
      expect(numbers(state.get(name) as Tensor), name).toEqual(numbers(tensor))
    const read = await LoRA.load(base, adapter)
    expect(read.parameters().map(numbers)).toEqual(own.parameters().map(numbers))
    const [, b] = read.parameters() as [Tensor, Tensor]
    expect(numbers(b).some((value) => value !== 0)).toBe(true)
    expect(existsSync(at('tuned/step-10/adapter.safetensors'))).toBe(true)
  })

  it('is needed for low-rank updates, whose options are checked', async () => {
    await refused(small('untuned', ['train.lora={"r":2}']), 'is for a trained model')
    const wrong = ['train.lora={"target_modules":"q_proj"}', ...init()]
    await refused(small('untuned', wrong), 'train.lora: no linear layer has a name like "q_proj"')
    await refused(small('untuned', ['train.lora={"rank":2}', ...init()]), 'train.lora.rank')
    expect(readdirSync(at('untuned'))).toEqual([])
  })

  it('has its low-rank updates merged, so that the run can be gone on with', async () => {
    const model = await load(at('first/model.safetensors'))
    const lora = new LoRA(model, { target_modules: '*.to_q', r: 2 })
    const random = [...lora.namedParameters()].map(([name, { shape }]) => [name, randn(shape)])
    model.loadStateDict(Object.fromEntries(random), { strict: false })
    mkdirSync(at('updated'))
    copyFileSync(at('first/tokenizer.json'), at('updated/tokenizer.json'))
    await model.save(at('updated/model.safetensors'))
    const schedule = 'train.schedule=null'
    const more = ['--init', at('updated'), '--steps', '1', 'optimizer.lr=1e-9', schedule]
    const { code, stderr } = await x(small('of-updated', more))
    expect(code, stderr).toBe(0)
    expect(stderr).toContain('are merged into its weights')
    const resume = ['train', '--resume', '--out', at('of-updated'), '--json', '--steps', '2']
    expect((await done(resume)).steps).toBe(2)
    lora.merge()
    const trained = (await load(at('of-updated/model.safetensors'))).stateDict()
    for (const [name, tensor] of model.stateDict())
      expectClose(numbers(trained.get(name) as Tensor), numbers(tensor), 1e-5)
    expect(trained.size).toBe(model.stateDict().size)
  })

  it('is what a configuration without a tokenizer has it from', async () => {
    const bpe = 'tokenizer={"type":"bpe","vocab_size":280}'
    await done(small('pairs', [bpe, '--steps', '1']))
    const { tokenizer: _, ...config } = json('pairs/config.json')
    writeFileSync(at('pairs.json'), JSON.stringify({ ...config, init: 'pairs' }))
    await done(['train', at('pairs.json'), '--out', at('of-pairs'), '--steps', '1', '--json'])
    const read = (run: string) => readFileSync(at(`${run}/tokenizer.json`), 'utf8')
    expect(read('of-pairs')).toBe(read('pairs'))
  })

  it('holds where the run was killed before its first checkpoint', async () => {
    const { child, ended } = start([CLI, ...small('killed', init('--steps', '1000000'))])
    while (child.exitCode === null && !existsSync(at('killed/metrics.jsonl'))) await sleep(5)
    child.kill('SIGKILL')
    await ended
    // it was killed early; what it has left of a checkpoint does not count
    for (const name of readdirSync(at('killed')).filter((name) => name.startsWith('step-')))
      rmSync(at(`killed/${name}`), { recursive: true })
    mkdirSync(at('killed/step-250'))
    appendFileSync(at('killed/step-250/model.safetensors'), 'half')
    const resume = ['train', '--resume', '--out', at('killed'), '--steps', '1', '--json']
    const { val_loss } = await done(resume)
    expect(val_loss).toBeLessThan(Math.log(22) - 0.3)
  })
})

describe('the model of a run that was killed', () => {
  it('is the one that it would have had at its end', () => {
    const [one, two] = ['gone/step-10', 'gone/step-20']
    for (const step of [one, two]) {
      mkdirSync(at(step), { recursive: true })
      for (const name of ['model', 'ema']) writeFileSync(at(`${step}/${name}.safetensors`), '')
      writeFileSync(at(`${step}/trainer.json`), '{"step":10,"best":null}')
    }
    const of = (state: object) => {
      writeFileSync(at(`${two}/trainer.json`), JSON.stringify({ step: 20, ...state }))
      return modelFile(at('gone'))
    }
    expect(of({ best: null, ema: false })).toBe(at(`${two}/model.safetensors`))
    expect(of({ best: { step: 10 }, ema: false })).toBe(at(`${one}/model.safetensors`))
    expect(of({ best: null, ema: true })).toBe(at(`${two}/ema.safetensors`))
    expect(of({ best: { step: 10 }, ema: true })).toBe(at(`${one}/ema.safetensors`))
    // the best one may not be kept
    expect(of({ best: { step: 5 }, ema: true })).toBe(at(`${two}/ema.safetensors`))
    rmSync(at(`${two}/trainer.json`))
    expect(modelFile(at('gone'))).toBe(at(`${one}/model.safetensors`))
  })
})

describe('a text without a line feed', () => {
  it('can be learned, with the samples of a preset', async () => {
    writeFileSync(at('flat.txt'), 'Call me Ishmael. '.repeat(200))
    await done(smallRun(at('flat.txt'), at('flat'), ['--steps', '3', 'sample.every=2']))
  })
})
