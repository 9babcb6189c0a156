import { describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  load,
  Module,
  manualSeed,
  memory,
  noGrad,
  type Quantization,
  randn,
  type Tensor,
  TransformerWrapper,
  tensor,
  XTransformersError,
} from 'x-transformers'
import { expectClose, ids, largerModel, numbers } from './helpers.js'
import { chapter } from './text.js'

const FORMATS: Quantization[] = ['q8_0', 'q4_0', 'bf16']

/** A model whose matrices consist of whole blocks of 32. */
function model(layers: object = {}): AutoregressiveWrapper {
  const attn_layers = new Decoder({ dim: 64, depth: 2, heads: 2, attn_dim_head: 32, ...layers })
  return new AutoregressiveWrapper(
    new TransformerWrapper({ num_tokens: 128, max_seq_len: 64, attn_layers }),
  )
}

const code = (error: unknown) => error instanceof XTransformersError && error.code
const codeOf = (promise: Promise<unknown>) => promise.then(() => null, code)

/** The largest difference of two lists, relative to the largest number. */
function distance(got: readonly number[], want: readonly number[]): number {
  const most = (list: readonly number[]) => list.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  return most(got.map((x, i) => x - (want[i] as number))) / most(want)
}

const logits = async (net: TransformerWrapper) =>
  numbers(await noGrad(() => net.forward(ids(2, 9))))

describe('perplexity on a real text', () => {
  const LENGTH = 64

  /** Characters as tokens, in windows that overlap by one. */
  function windows(text: string, starts: number[]): Tensor {
    const rows = starts.map((start) => text.slice(start, start + LENGTH + 1))
    const tokens = rows.flatMap((row) =>
      Array.from(row, (character) => Math.min(character.charCodeAt(0), 127)),
    )
    return tensor(tokens, { shape: [rows.length, LENGTH + 1], dtype: 'i64' })
  }

  /** Per character of the held-out text. */
  async function perplexity(trained: AutoregressiveWrapper, text: string): Promise<number> {
    const starts = Array.from({ length: 64 }, (_, i) => i * LENGTH)
    const { log_probs } = await trained.score(windows(text, starts))
    return Math.exp(-(log_probs.mean().item() as number))
  }

  async function train(untrained: AutoregressiveWrapper, text: string): Promise<void> {
    const optimizer = new AdamW(untrained.parameters(), { lr: 3e-3 })
    for (let step = 0; step < 200; step++) {
      // spread over the text, at other positions each time
      const starts = Array.from(
        { length: 8 },
        (_, row) => ((step * 8 + row) * 7919) % (text.length - LENGTH - 1),
      )
      using loss = await untrained.forward(windows(text, starts))
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
  }

  it('is unchanged by q8_0 and bf16, and nearly so by q4_0', async () => {
    manualSeed(1)
    const [text, heldOut] = [await chapter(54), await chapter(133)]
    const trained = model({ rotary_pos_emb: true })
    const untrained = await perplexity(trained, heldOut)
    await train(trained, text)
    const before = await perplexity(trained, heldOut)
    // the model has learned something that rounding could destroy
    expect(before).toBeLessThan(untrained / 5)
    const weights = new Map(
      [...trained.stateDict()].map(([name, values]) => [name, values.detach()]),
    )
    const change: Record<string, number> = {}
    for (const format of FORMATS) {
      trained.loadStateDict(weights)
      trained.quantize(format)
      change[format] = (await perplexity(trained, heldOut)) / before - 1
    }
    expect(Math.abs(change.q8_0 as number)).toBeLessThan(0.005)
    expect(Math.abs(change.bf16 as number)).toBeLessThan(0.005)
    // measured: 0.4 %
    expect(Math.abs(change.q4_0 as number)).toBeLessThan(0.02)
    // all formats round
    for (const format of FORMATS) expect(change[format]).not.toBe(0)
    expect(Math.abs(change.q4_0 as number)).toBeGreaterThan(Math.abs(change.q8_0 as number))
  })
})

describe('a quantized model', () => {
  it.each(FORMATS)(
    'keeps names, shapes and sizes, and gives nearly the same result, as %s',
    async (format) => {
      const quantized = model()
      const before = await logits(quantized.net)
      const [names, size] = [[...quantized.stateDict().keys()], quantized.numParameters]
      expect(quantized.quantization).toBe(null)
      expect(quantized.quantize(format)).toBe(quantized)
      expect([quantized.quantization, quantized.net.quantization]).toEqual([format, format])
      expect([...quantized.stateDict().keys()]).toEqual(names)
      expect(quantized.numParameters).toBe(size)
      const off = distance(await logits(quantized.net), before)
      expect(off).toBeGreaterThan(0)
      expect(off).toBeLessThan({ q8_0: 0.02, q4_0: 0.3, bf16: 0.02 }[format])
    },
  )

  it.each(FORMATS)('generates the same with and without the cache, as %s', async (format) => {
    const quantized = model().quantize(format)
    const greedy = async (cache_kv: boolean) =>
      numbers(
        await quantized.generate(ids(2, 5), 20, {
          temperature: 0,
          cache_kv,
          repetition_penalty: 1.3,
        }),
      )
    const kept = await greedy(true)
    expect(kept).toEqual(await greedy(false))
    expect(new Set(kept).size).toBeGreaterThan(3)
    const streamed: number[] = []
    const prompt = ids(1, 5)
    for await (const token of quantized.stream(prompt, 6, { temperature: 0 })) streamed.push(token)
    expect(streamed).toEqual(numbers(await quantized.generate(prompt, 6, { temperature: 0 })))
  })

  it('uses less memory', async () => {
    const share = { q8_0: 8.5 / 32, q4_0: 4.5 / 32, bf16: 16 / 32 }
    for (const format of FORMATS) {
      const large = largerModel()
      await noGrad(() => large.forward(ids(1, 4)))
      const linear = [...large.stateDict()].filter(([name]) =>
        /(to_\w+|ff\.\d(\.\d)?)\.weight$/.test(name),
      )
      const bytes = linear.reduce(
        (sum, [, { shape }]) => sum + 4 * (shape[0] as number) * (shape[1] as number),
        0,
      )
      const before = memory().native_bytes
      large.quantize(format)
      const freed = before - memory().native_bytes
      expect(Math.abs(freed / bytes - (1 - share[format])), format).toBeLessThan(0.01)
      large.dispose()
    }
  })

  it('is saved as f32, and gives the same once it is loaded', async () => {
    const quantized = model().quantize('q4_0')
    const want = await logits(quantized.net)
    const loaded = await load<AutoregressiveWrapper>(await quantized.saveBytes())
    expect(loaded.quantization).toBe(null)
    expect([...loaded.stateDict().values()].every(({ dtype }) => dtype === 'f32')).toBe(true)
    expectClose(await logits(loaded.net), want, 1e-4)
    // rounded values stay the same when they are quantized again
    loaded.quantize('q4_0')
    expect(await logits(loaded.net)).toEqual(want)
  })

  it('cannot be trained until weights are loaded', async () => {
    const quantized = model()
    const optimizer = new AdamW(quantized.parameters(), { lr: 1e-3 })
    const weights = new Map(
      [...quantized.stateDict()].map(([name, values]) => [name, values.detach()]),
    )
    const stale = await quantized.forward(ids(2, 9))
    quantized.quantize('q8_0')
    expect(await codeOf(stale.backward())).toBe('stale_parameters')
    await expect(quantized.forward(ids(2, 9))).rejects.toThrow(/quantized \(q8_0\).*noGrad/)
    expect(await codeOf(quantized.forward(ids(2, 9)))).toBe('quantized')
    expect(await codeOf(optimizer.step())).toBe('quantized')
    expect((await noGrad(() => quantized.forward(ids(2, 9)))).shape).toEqual([])
    quantized.loadStateDict(weights)
    expect(quantized.quantization).toBe(null)
    const loss = await quantized.forward(ids(2, 9))
    await loss.backward()
    await optimizer.step()
    expect((await quantized.forward(ids(2, 9))).item()).toBeLessThan(loss.item() as number)
  })

  it('computes with frozen weights without noGrad, as there is no graph', async () => {
    const frozen = model().quantize('bf16')
    for (const parameter of frozen.parameters()) parameter.requires_grad = false
    expect((await frozen.forward(ids(2, 9))).requires_grad).toBe(false)
  })

  it('uses bf16 for rows that are not whole blocks', async () => {
    const narrow = model({ dim: 40, ff_mult: 1, attn_dim_head: 8 })
    const before = await logits(narrow.net)
    expect(narrow.quantize('q8_0').quantization).toBe(null)
    expect(await logits(narrow.net)).toEqual(before)
    expect(narrow.quantize('bf16').quantization).toBe('bf16')
    expect(await logits(narrow.net)).not.toEqual(before)
  })

  it('may be a part of a custom module', async () => {
    class Own extends Module {
      inner = model()
      factor = randn([1], { requires_grad: true })

      forward() {
        return noGrad(() => this.inner.forward(ids(2, 9)))
      }
    }
    const own = new Own()
    expect(own.quantize('q8_0').quantization).toBe('q8_0')
    expect(own.inner.quantization).toBe('q8_0')
    expect((await own.forward()).shape).toEqual([])
  })
})

describe('quantize', () => {
  it('lists the formats if the given one does not exist', () => {
    const wrong = () => model().quantize('q8-0' as Quantization)
    expect(wrong).toThrow(/no format `q8-0`; did you mean `q8_0`\?; allowed: q8_0, q4_0, bf16/)
    expect(() => model().quantize(8 as never)).toThrow(/no format `8`/)
    try {
      wrong()
    } catch (error) {
      expect(code(error)).toBe('invalid_options')
    }
  })

  it('changes nothing if a weight is not finite', () => {
    const broken = model()
    const weight = broken.stateDict().get('net.to_logits.weight') as Tensor
    broken.loadStateDict({ 'net.to_logits.weight': weight.mul(Number.NaN) }, { strict: false })
    expect(() => broken.quantize('q8_0')).toThrow(/`net\.to_logits\.weight`: a weight is NaN/)
    expect(broken.quantization).toBe(null)
  })

  it('does not wait for pending calls', async () => {
    const busy = model()
    const pending = busy.generate(ids(1, 4), 3)
    expect(() => busy.quantize('q8_0')).toThrow(/quantize\(\)/)
    await pending
    expect(busy.quantize('q8_0').quantization).toBe('q8_0')
  })
})
