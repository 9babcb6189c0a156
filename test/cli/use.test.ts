// What the command does with a trained model: generate, chat, eval, inspect, convert.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AutoregressiveWrapper, load, loadTensors, noGrad, type Tensor } from 'x-transformers'
import { loadTokenizer } from 'x-transformers/tokenizers'
import { SMALL, scratch, smallRun, x } from './command.js'

let place: ReturnType<typeof scratch>
let run: string
const at = (name: string) => join(place.folder, name)

beforeAll(async () => {
  place = scratch()
  run = at('run')
  const data = ['--data', place.text, '--out', run, '--steps', '60']
  const { code, stderr } = await x(['train', ...SMALL, ...data])
  if (code !== 0) throw new Error(stderr)
})
afterAll(() => place.remove())

const json = (text: string) => JSON.parse(text)

describe('generate', () => {
  it('goes on from a prompt, the same again with a seed', async () => {
    const args = ['generate', run, '--prompt', 'Call me', '--tokens', '30', '--seed', '7']
    const [one, two] = await Promise.all([x(args), x(args)])
    expect(one.code, one.stderr).toBe(0)
    expect(one.stdout).toMatch(/^Call me.{20,}/s)
    expect(two.stdout).toBe(one.stdout)
  })

  it('takes a checkpoint, a file, or the folder of the run, and a prompt from standard input', async () => {
    const rest = ['--tokens', '5', '--temperature', '0', '--prompt', '-', '--json']
    const paths = [run, join(run, 'step-60'), join(run, 'model.safetensors')]
    const ended = await Promise.all(
      paths.map((path) => x(['generate', path, ...rest], { input: 'years' })),
    )
    const texts = ended.map(({ stdout }) => json(stdout).text)
    expect(new Set(texts).size).toBe(1)
    expect(json(ended[0]?.stdout as string)).toMatchObject({
      prompt: 'years',
      prompt_tokens: 5,
      tokens: 5,
      reason: 'length',
    })
  })

  it('ends where a text comes that stops it, without that text', async () => {
    const args = ['generate', run, '--prompt', 'Call', '--tokens', '200', '--seed', '1', '--json']
    const { text } = json((await x(args)).stdout)
    const stop = text.slice(20, 23)
    const stopped = json((await x([...args, '--stop', stop])).stdout)
    expect(stopped).toMatchObject({ reason: 'stop', text: text.slice(0, text.indexOf(stop)) })
  })

  it('says which character the model does not know', async () => {
    const { code, stderr } = await x(['generate', run, '--prompt', 'Ω'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('"Ω" has no id')])
  })
})

describe('chat', () => {
  it('answers line by line, remembers, and ends with its input', async () => {
    const input = 'Call me\n/temperature 0\n/what\nSome years\n'
    const { code, stdout, stderr } = await x(['chat', run, '--tokens', '10'], { input })
    expect(code, stderr).toBe(0)
    expect(stdout).toContain('/reset')
    const forgetful = await x(['chat', run, '--tokens', '10', '--forget'], { input })
    expect(forgetful.code).toBe(0)
    const last = (text: string) => text.trimEnd().split('\n').at(-1)
    const alone = ['generate', run, '--prompt', 'Some years', '--tokens', '10']
    const { stdout: written } = await x([...alone, '--temperature', '0'])
    expect(`Some years${last(forgetful.stdout)}`).toBe(last(written))
  })

  it('forgets a line that the model cannot read', async () => {
    const talk = async (input: string) => {
      const args = ['chat', run, '--tokens', '5', '--temperature', '0']
      const { code, stdout } = await x(args, { input })
      expect(code).toBe(0)
      return stdout.split('\n')
    }
    const [first, problem, second] = await talk('Call me\nΩ\nSome')
    expect(problem).toContain('"Ω" has no id')
    expect([first, second]).toEqual((await talk('Call me\nSome')).slice(0, 2))
  })

  it('goes on after a line that the model cannot read', async () => {
    const { code, stdout } = await x(['chat', run, '--tokens', '3'], {
      input: 'Ω\nCall\n/exit\nme',
    })
    expect(code).toBe(0)
    expect(stdout).toMatch(/\(.*"Ω" has no id.*\)\n.+\n$/s)
  })
})

describe('eval', () => {
  it('measures what the run has held out, as its training has', async () => {
    const own = json((await x(['eval', run, '--json'])).stdout)
    expect(own.perplexity).toBeCloseTo(Math.exp(own.loss), 9)
    // all of the held-out text but its first character
    expect(own.tokens).toBe(Math.ceil(statSync(place.text).size * 0.1) - 1)
    const rows = json((await x(['eval', run, '--json', '--batch-size', '3'])).stdout)
    expect(rows.loss).toBeCloseTo(own.loss, 5)
    expect(rows.accuracy).toBe(own.accuracy)
    // characters of a byte each
    expect([own.bytes, own.bits_per_byte]).toEqual([own.tokens, own.bits_per_token])
    expect(own.bits_per_token).toBeCloseTo(own.loss / Math.LN2, 9)
    expect(own.tokens_per_second).toBeGreaterThan(0)
  })

  it('counts the tokens that the model holds likeliest, and the bytes of others', async () => {
    const text = 'Ähnlich wäre es, über Öl: Äpfel. '.repeat(400)
    writeFileSync(join(place.folder, 'bytes.txt'), text)
    const out = join(place.folder, 'bytes')
    const args = smallRun(join(place.folder, 'bytes.txt'), out, ['--steps', '30'])
    expect((await x([...args, '--tokenizer', 'bpe'])).code).toBe(0)
    const measured = json((await x(['eval', out, '--json'])).stdout)
    const model = (await load<AutoregressiveWrapper>(join(out, 'model.safetensors'))).eval()
    const tokenizer = await loadTokenizer(join(out, 'tokenizer.json'))
    const all = tokenizer.encode(text)
    const held = all.slice(Math.floor(all.length * 0.9))
    const { max_seq_len: length } = model.net.options
    let correct = 0
    for (let at = 0; at + 1 < held.length; at += length) {
      const row = held.slice(at, at + length + 1)
      const logits = (await noGrad(() => model.net.forward([row.slice(0, -1)]))) as Tensor
      const best = Array.from(logits.argmax(-1).dataSync(), Number)
      correct += best.filter((id, i) => id === row[i + 1]).length
    }
    expect(measured.tokens).toBe(held.length - 1)
    expect(measured.accuracy).toBeCloseTo(correct / (held.length - 1), 9)
    const bytes = Buffer.byteLength(tokenizer.decode(held.slice(1)))
    expect(bytes).toBeGreaterThan(held.length)
    expect(measured.bytes).toBe(bytes)
    expect(measured.bits_per_byte).toBeCloseTo(
      (measured.bits_per_token * measured.tokens) / bytes,
      9,
    )
  })

  it('measures another text, and says so in words', async () => {
    const { code, stdout } = await x(['eval', run, '--data', place.text])
    expect(code).toBe(0)
    const { size } = statSync(place.text)
    expect(stdout).toMatch(/^loss +\d\.\d{4} nats per token$/m)
    expect(stdout).toMatch(/^accuracy +\d+\.\d\d % of the tokens$/m)
    expect(stdout).toMatch(/^bits per byte +\d\.\d{4}$/m)
    expect(stdout).toContain(`on ${(size - 1).toLocaleString('en-US')} tokens`)
  })
})

describe('inspect', () => {
  it('shows parts, memory, operations and what each option does', async () => {
    const { code, stdout } = await x(['inspect', run])
    expect(code).toBe(0)
    expect(stdout).toContain('(attn_layers): Decoder(')
    expect(stdout).toMatch(/^Decoder\.dim +16 +Width of the model\.$/m)
    expect(stdout).toMatch(/^memory of the weights +\d/m)
  })

  it('counts as one counts by hand', async () => {
    const { stdout } = await x(['inspect', run, '--json'])
    const { num_parameters, weights_bytes, forward_flops_per_token, kept_bytes_per_token } =
      json(stdout)
    const [dim, tokens, length] = [16, 22, 16]
    const matrices = 4 * dim * dim + 2 * 4 * dim * dim + dim * tokens
    const others = tokens * dim + length * dim + 3 * 2 * dim + tokens
    expect(num_parameters).toBe(matrices + others)
    expect(weights_bytes).toBe(4 * num_parameters)
    // scores and weighted sums of two heads of 8, over half of the row on average
    const scores = 2 * 2 * (8 + 8) * ((length + 1) / 2)
    expect(forward_flops_per_token).toBe(2 * matrices + scores)
    expect(kept_bytes_per_token).toBe(2 * dim * 4)
  })

  it('takes presets, configurations, and classes of options', async () => {
    const [preset, config, options] = await Promise.all([
      x(['inspect', '--preset', 'nanogpt-cpu', '--json']),
      x(['inspect', join(run, 'config.json'), '--json']),
      x(['inspect', '--options', 'Attention']),
    ])
    expect(json(preset.stdout).num_parameters).toBeGreaterThan(800_000)
    const own = await x(['inspect', run, '--json'])
    expect(json(config.stdout).num_parameters).toBe(json(own.stdout).num_parameters)
    expect(options.stdout).toMatch(/^dim_head +number +64 +Dimension of each head\.$/m)
    expect(options.stdout).toMatch(/^tensor_product /m)
    const names = json((await x(['inspect', '--options', 'XTransformer', '--json'])).stdout).map(
      ({ name }: { name: string }) => name,
    )
    expect(names).toEqual(expect.arrayContaining(['enc_attn_dim_head', 'dec_ff_no_bias']))
  })
})

describe('inspect and convert', () => {
  it('say what is wrong with a configuration', async () => {
    for (const [text, message] of [
      ['null', 'it: must be an object, got null'],
      ['{"class":"Decoder","option":{}}', 'option: is not known here; did you mean options?'],
      ['{"class":5}', 'class: must be a text, got 5'],
      ['{"class":"Decodr"}', 'did you mean Decoder?'],
      ['{"class":"Decoder"}', 'dim'],
      ['{"class":"TransformerWrapper"}', 'attn_layers: is required'],
      ['{"class":"TransformerWrapper","options":{"attn_layers":{"class":5}}}', 'named 5'],
    ] as const) {
      const path = at('odd.json')
      writeFileSync(path, text)
      const inspected = await x(['inspect', path])
      expect(inspected.stderr).toContain(message)
      expect(inspected.stderr).not.toMatch(/^ +at /m)
      const to = at('odd.safetensors')
      const converted = await x(['convert', run, to, '--config', path])
      expect(converted.stderr).not.toMatch(/^ +at /m)
      expect([inspected.code, converted.code]).not.toContain(0)
    }
  })
})

describe('report', () => {
  it('shows runs on one page, and says which of them have no metrics', async () => {
    const out = at('compare.html')
    const { code, stdout, stderr } = await x(['report', run, run, '--out', out, '--json'])
    expect(code, stderr).toBe(0)
    expect(json(stdout)).toMatchObject({ written: out, runs: [{ name: 'run' }, { name: 'run' }] })
    expect(readFileSync(out, 'utf8')).toMatch(/^<!doctype html>/i)
    const none = await x(['report', place.folder])
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('no metrics')])
  })
})

describe('convert', () => {
  it('lists names, and writes weights of another type, and the configuration', async () => {
    const names = json((await x(['convert', run, '--json'])).stdout)
    expect(names).toContainEqual({
      name: 'net.token_emb.emb.weight',
      shape: [22, 16],
      dtype: 'f32',
    })
    const half = at('half.safetensors')
    const { code, stderr } = await x(['convert', run, half, '--weights', '--dtype', 'f16'])
    expect(code, stderr).toBe(0)
    const { tensors } = await loadTensors(half)
    expect(tensors.size).toBe(names.length)
    expect(statSync(half).size).toBeLessThan(statSync(join(run, 'model.safetensors')).size * 0.7)
    await x(['convert', run, at('model.json')])
    expect(json(readFileSync(at('model.json'), 'utf8')).model.class).toBe('AutoregressiveWrapper')
  })

  it('makes a whole model of weights and a configuration', async () => {
    const [bare, whole] = [at('bare.safetensors'), at('whole.safetensors')]
    await x(['convert', run, bare, '--weights'])
    const { code, stderr } = await x(['convert', bare, whole, '--config', run])
    expect(code, stderr).toBe(0)
    const [own, again] = await Promise.all(
      [join(run, 'model.safetensors'), whole].map((path) => load<AutoregressiveWrapper>(path)),
    )
    const values = (model?: AutoregressiveWrapper) =>
      [...(model?.stateDict() ?? [])].map(([name, tensor]) => [name, tensor.toArray()])
    expect(values(again)).toEqual(values(own))
  })

  it('says what cannot be written', async () => {
    for (const [args, message] of [
      [['model.pt'], '.safetensors'],
      [['w.safetensors', '--dtype', 'f16'], '--weights'],
      [['w.safetensors', '--weights', '--dtype', 'u16'], 'token ids'],
    ] as const) {
      const { code, stderr } = await x(['convert', run, ...args])
      expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
    }
    expect(existsSync('w.safetensors')).toBe(false)
  })

  it('takes no option that it would ignore', async () => {
    const [ids, model, config] = [at('x.bin'), at('x.safetensors'), at('x.json')]
    for (const args of [
      [run, model, '--key', 'model'],
      [run, model, '--prefix', 'model.'],
      [run, model, '--config', run, '--weights'],
      [run, model, '--tokenizer', 'byte'],
      [run, model, '--config', run, '--field', 'text'],
      [run, config, '--dtype', 'f16'],
      [run, '--weights'],
      [place.text, ids, '--tokenizer', 'byte', '--config', run],
    ]) {
      const { code, stderr } = await x(['convert', ...args])
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^--\w+ has no effect /)])
    }
    expect([ids, model, config].filter(existsSync)).toEqual([])
  })

  it('keeps the tokenizer that it has made of a text, whatever else lies there', async () => {
    const cwd = at('beside')
    mkdirSync(join(cwd, 'char'), { recursive: true })
    const args = ['convert', place.text, 'book.bin', '--tokenizer', 'char']
    const { code, stderr } = await x(args, { cwd })
    expect(code, stderr).toBe(0)
    expect(json(readFileSync(join(cwd, 'book.bin.tokenizer.json'), 'utf8')).type).toBe('characters')
  })
})
