// Reports: what goes into their page. test/node/report.test.ts looks at the page itself.
import { describe, expect, it } from 'vitest'
import * as library from 'x-transformers'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  Dropout,
  describe as describeModel,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  Module,
  manualSeed,
  RMSNorm,
  randint,
  SGD,
  type Tensor,
  TransformerWrapper,
  XTransformer,
} from 'x-transformers'
import {
  attentionMaps,
  type DescribedModel,
  reportHtml,
  reportLogger,
  toPython,
  toTypeScript,
  writeReport,
} from 'x-transformers/report'
import { type MetricsLine, readMetrics, type StepEvent, Trainer } from 'x-transformers/train'
import { files } from '#files'
import { duration } from '../../packages/report/src/format.js'
import { openSource } from '../../ts/io/sources.js'
import type { ReportData, RunData } from '../../ts/report/data.js'
import { folderName } from '../../ts/report/names.js'
import { evenly, extremes, Series } from '../../ts/report/thin.js'
import { metricsIn } from '../../ts/train/log-files/jsonl.js'
import { newFolder } from './folder.js'
import { ids, numbers, smallModel, smallNet } from './helpers.js'

/** The data of a page, as its own script reads it. */
function dataOf(html: string): ReportData {
  const [, json] =
    html.match(/<script type="application\/json" id="data">([\s\S]*?)<\/script>/) ?? []
  return JSON.parse(json as string)
}

async function textOf(path: string): Promise<string> {
  const input = await openSource(path)
  const text = new TextDecoder().decode(await input.read(0, input.size ?? 0))
  await input.close()
  return text
}

const step = (step: number, more: Partial<StepEvent> = {}): StepEvent => ({
  ...{ type: 'step', step, epoch: 0, loss: 1 / step, lr: 0.1, grad_norm: 1, tokens: 5 },
  ...{ grad_norms: null, activation_norms: null, seconds: step / 2, tokens_per_second: 10 },
  ...{ share: 0 },
  ...more,
})

const runOf = (metrics: MetricsLine[]) => dataOf(reportHtml([{ metrics }])).runs[0] as RunData

describe('a report', () => {
  it('has columns of the steps, evaluations, samples and norms', () => {
    const run = runOf([
      step(1, { grad_norms: { a: 1, b: 2 } }),
      { type: 'evaluation', step: 1, loss: 0.123456789, best: true, seconds: 1 },
      step(2, { grad_norm: null }),
      { type: 'sample', step: 2, text: '</script><b>&amp; "é" \u2028' },
      step(3, { grad_norms: { a: 3, c: 4 } }),
    ])
    expect(run.name).toBe('run 1')
    expect(run.steps).toEqual({
      ...{ step: [1, 2, 3], loss: [1, 0.5, 0.333333], lr: [0.1, 0.1, 0.1] },
      ...{ grad_norm: [1, null, 1], tokens: [5, 10, 15], tokens_per_second: [10, 10, 10] },
      seconds: [0.5, 1, 1.5],
    })
    expect(run.evaluations).toEqual({ step: [1], loss: [0.123457] })
    expect(run.samples).toEqual([{ step: 2, text: '</script><b>&amp; "é" \u2028' }])
    expect(run.grad_norms).toEqual({
      layers: ['a', 'b', 'c'],
      step: [1, 3],
      values: [
        ...[
          [1, 3],
          [2, null],
        ],
        [null, 4],
      ],
    })
    expect([run.activation_norms, run.done, run.info, run.code]).toEqual([null, null, null, null])
  })

  it('escapes what stands in it, and may load nothing', () => {
    const title = '</title><script>alert(1)</script>'
    const html = reportHtml([{ name: '<!--<script>', metrics: [] }], { title })
    expect(html).toContain('<title>&lt;/title&gt;&lt;script&gt;')
    expect(html.match(/<\/script>/g)).toHaveLength(2)
    expect(html).toContain(`content="default-src 'none';`)
    expect(html.replace(/<!--[\s\S]*?-->/, '')).not.toMatch(/(src|href)=["']?https?:/)
    expect(html).toContain('Permission is hereby granted, free of charge')
    expect(dataOf(html).runs[0]?.name).toBe('<!--<script>')
  })

  it('stays small for long runs, and keeps every peak', () => {
    const metrics = Array.from({ length: 20_000 }, (_, i) =>
      step(i + 1, { loss: i === 12_345 ? 99 : 2 + Math.sin(i), grad_norms: { a: i, b: 1 } }),
    )
    const html = reportHtml([{ metrics }])
    expect(html.length).toBeLessThan(400_000)
    const { steps, grad_norms } = runOf(metrics)
    expect(steps.loss.length).toBeLessThanOrEqual(3001)
    expect(steps.step[steps.loss.indexOf(99)]).toBe(12_346)
    expect(steps.step.at(-1)).toBe(20_000)
    expect(grad_norms?.step).toHaveLength(300)
    expect(grad_norms?.step.at(-1)).toBe(20_000)
  })

  it('is thinned by rules', () => {
    expect(extremes([3, 1, 2], 3)).toEqual([0, 1, 2])
    expect(extremes([5, 9, 1, 5, 5, 7, 5, 2], 4)).toEqual([1, 2, 5, 7])
    expect(extremes([], 4)).toEqual([])
    expect(evenly(3, 5)).toEqual([0, 1, 2])
    expect(evenly(10, 4)).toEqual([2, 4, 7, 9])
    expect(evenly(0, 4)).toEqual([])
  })

  it('grows no more in memory than its page does', () => {
    const values = Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 10_007)
    values[4321] = -1
    values[8765] = 99_999
    const [peaks, even] = [Series.extremes<number>(40, (value) => value), Series.evenly<number>(40)]
    for (const [i, value] of values.entries()) {
      for (const series of [peaks, even]) series.add(value)
      // one row more for the part that is not full, and the last one
      for (const series of [peaks, even]) expect(series.rows().length).toBeLessThanOrEqual(43)
      if (i < 39)
        expect([peaks.rows(), even.rows()]).toEqual([
          values.slice(0, i + 1),
          values.slice(0, i + 1),
        ])
      if (i === 4321) expect(peaks.rows()).toContain(-1)
    }
    expect(peaks.rows()).toEqual(expect.arrayContaining([-1, 99_999, values.at(-1)]))
    const places = even.rows().map((value) => values.indexOf(value))
    expect(places.slice(0, 3)).toEqual([255, 511, 767])
    expect(places.at(-1)).toBe(9999)
  })

  it('shows what is not finite as nothing', () => {
    const metrics: MetricsLine[] = [
      step(1, { grad_norms: { a: NaN, b: 2 } }),
      { type: 'evaluation', step: 1, loss: NaN, best: false, seconds: 1 },
      { type: 'evaluation', step: 2, loss: 0.5, best: true, seconds: 1 },
    ]
    // as they are, and as JSON has them
    for (const lines of [metrics, JSON.parse(JSON.stringify(metrics))]) {
      const { evaluations, grad_norms } = runOf(lines)
      expect(evaluations).toEqual({ step: [1, 2], loss: [null, 0.5] })
      expect(grad_norms?.values).toEqual([[null], [2]])
    }
  })

  it('has the names of folders, and times', () => {
    const paths = ['runs/first/a.html', 'opfs:first/a.html', 'C:\\runs\\first\\a.html']
    expect(paths.map(folderName)).toEqual(['first', 'first', 'first'])
    for (const path of ['a.html', './a.html', '../a.html', '/a.html', 'opfs:a.html', 'C:\\a.html'])
      expect(folderName(path), path).toBeUndefined()
    const times = [59.94, 59.99, 359.7, 3599.6, 7260].map(duration)
    expect(times).toEqual(['59.9 s', '1 min 0 s', '6 min 0 s', '1 h 0 min', '2 h 1 min'])
  })

  it('is made of lines as they come', async () => {
    const lines = metricsIn(new Blob(['{"type":"done"}\n{"a":1}\n{"type":"done"}\n']))
    expect((await lines.next()).value).toEqual({ type: 'done' })
    await expect(lines.next()).rejects.toThrow('line 2 of the metrics is none of jsonlLogger')
  })

  it('is written of files, with the names of their folders', async () => {
    const folder = await newFolder()
    for (const name of ['one', 'two']) {
      const logger = reportLogger(`${folder}/${name}/report.html`)
      await logger.start?.({
        ...{ model: { class: 'Decoder', options: { dim: 8 } }, num_parameters: 1, device: 'cpu' },
        ...{ optimizer: { class: 'SGD', groups: [] }, step: 0, version: '0', steps: 1 },
        ...{ epochs: null, seconds: null, batch_size: null, grad_accum: 1, clip: null },
        clip_value: null,
      })
      await logger.log(step(1))
      await logger.close?.()
    }
    const files = ['one', 'two'].map((name) => `${folder}/${name}/report.jsonl`)
    const target = `${folder}/both.html`
    const metrics = await readMetrics(files[0] as string)
    await writeReport([...files, { name: 'third', metrics }, { metrics }], target, { title: 'All' })
    const { title, runs } = dataOf(await textOf(target))
    expect(title).toBe('All')
    expect(runs.map(({ name }) => name)).toEqual(['one', 'two', 'third', 'run 4'])
    expect(runs.map(({ steps }) => steps.step)).toEqual([[1], [1], [1], [1]])
    expect(dataOf(await textOf(`${folder}/one/report.html`)).runs[0]?.name).toBe('one')
  })

  it('refuses what it is not made of', async () => {
    expect(() => reportHtml([])).toThrow(/runs must be an array with one run at least, got "none"/)
    expect(() => reportHtml([{} as never])).toThrow(/runs\[0\] must be \{ name, metrics \}/)
    expect(() => reportLogger('')).toThrow(/what reportLogger takes must be the path/)
    expect(() => reportLogger('a.html', { attention: 3 as never })).toThrow(/attention must be a/)
    const nothing = writeReport([`${await newFolder()}/nothing.jsonl`], 'report.html')
    await expect(nothing).rejects.toMatchObject({ code: 'file' })
  })
})

describe('reportLogger', () => {
  it('goes on where a run does', async () => {
    const folder = await newFolder()
    const [path, metrics] = [`${folder}/report.html`, `${folder}/lines.jsonl`]
    const model = smallModel()
    const settings = {
      ...{ data: [[ids(2, 6)]], checkpoint: { folder }, resume: true, norms: {} },
      sample: { every: 2, make: () => 'a text' },
    }
    const run = (steps: number) =>
      new Trainer(model, {
        ...{ ...settings, optimizer: new AdamW(model.parameters()), steps },
        loggers: [reportLogger(path, { name: 'mine', title: 'Mine', metrics })],
      }).run()
    await run(2)
    await run(5)
    expect((await files.list(folder))?.filter((name) => !name.startsWith('step-')).sort()).toEqual([
      ...['lines.jsonl', 'report.html'],
    ])
    const { title, runs } = dataOf(await textOf(path))
    const [data] = runs as [RunData]
    expect([title, data.name]).toEqual(['Mine', 'mine'])
    expect(data.steps.step).toEqual([1, 2, 3, 4, 5])
    expect(data.samples.map((sample) => sample.step)).toEqual([2, 4, 5])
    expect(data.grad_norms?.step).toEqual([1, 2, 3, 4, 5])
    expect(data.done).toMatchObject({ steps: 5, reason: 'finished' })
    expect(data.info?.model.class).toBe('AutoregressiveWrapper')
    expect(data.code?.typescript).toBe(toTypeScript(model))
  })

  it('has attention maps, and changes no number of the run', async () => {
    const folder = await newFolder()
    const losses = async (attention: boolean) => {
      manualSeed(5)
      const model = smallModel({ attn_dropout: 0.3 })
      const maps = () => attentionMaps(model, [1, 2, 3], ['a', 'b', 'c'])
      const all: number[] = []
      await new Trainer(model, {
        ...{ data: [[ids(2, 6)]], optimizer: new SGD(model.parameters(), { lr: 0.1 }), steps: 4 },
        eval: { data: [[ids(2, 6)]], every: 2 },
        loggers: [reportLogger(`${folder}/report.html`, attention ? { attention: maps } : {})],
      }).run((event) => event.type === 'step' && all.push(event.loss))
      expect(model.net.training).toBe(true)
      return all
    }
    expect(await losses(true)).toEqual(await losses(false))
  })
})

describe('attentionMaps', () => {
  const decoded = (text: string) =>
    Array.from(atob(text), (char) => (char.charCodeAt(0) / 255) ** 2)

  it('are those of all tokens where a model has no longest row', async () => {
    const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 2, alibi_pos_bias: true })
    const net = new TransformerWrapper({ num_tokens: 8, max_seq_len: 0, attn_layers })
    const maps = await attentionMaps(net, [1, 2, 3], [...'abc'])
    expect(maps.keys).toEqual([...'abc'])
  })

  it('are those of forward, head by head', async () => {
    const net = smallNet()
    const tokens = [1, 2, 3, 4, 5]
    const maps = await attentionMaps(new AutoregressiveWrapper(net), tokens, [...'abcde'])
    expect([maps.queries, maps.keys]).toEqual([[...'abcde'], [...'abcde']])
    const [, want] = await net.eval().forward([tokens], { return_attn: true })
    expect(maps.layers).toHaveLength(1)
    const got = maps.layers.flatMap((heads) => heads.flatMap(decoded))
    const weights = numbers(want[0] as Tensor)
    expect(got).toHaveLength(2 * 5 * 5)
    for (const [i, weight] of got.entries()) expect(weight).toBeCloseTo(weights[i] as number, 2)
    const sums = [0, 1, 2].map((row) => got.slice(5 * row, 5 * row + 5).reduce((a, b) => a + b))
    for (const sum of sums) expect(sum).toBeCloseTo(1, 1)
  })

  it('name memories, and look at as many tokens as a page has room for', async () => {
    const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 1, attn_num_mem_kv: 2 })
    const settings = { num_tokens: 9, max_seq_len: 1500, num_memory_tokens: 1, attn_layers }
    const net = new TransformerWrapper(settings)
    const maps = await attentionMaps(net, [1, 2], ['x', 'y'])
    expect(maps.queries).toEqual(['memory 0', 'x', 'y'])
    expect(maps.keys).toEqual(['memory 0', 'memory 1', 'memory 2', 'x', 'y'])
    const many = Array.from({ length: 80 }, (_, i) => i % 9)
    const few = await attentionMaps(net, many, many.map(String))
    expect(few.queries).toHaveLength(65)
    const deep = new Decoder({ dim: 8, depth: 8, heads: 32, attn_dim_head: 1 })
    const large = new TransformerWrapper({ num_tokens: 9, max_seq_len: 400, attn_layers: deep })
    const text = Array.from({ length: 400 }, (_, i) => i % 9)
    const fitting = await attentionMaps(large, text, text.map(String), { max_tokens: 400 })
    expect(fitting.queries).toHaveLength(128)
    expect(fitting.layers.flat()[0]?.length).toBe(4 * Math.ceil(128 ** 2 / 3))
  })

  it('show no more than the model reads, and than is asked for', async () => {
    const net = smallNet()
    const { max_seq_len } = net.options
    const many = Array.from({ length: max_seq_len + 10 }, (_, i) => i % 9)
    const rows = async (max_tokens?: number) =>
      (await attentionMaps(net, many, many.map(String), { max_tokens })).queries.length
    expect(await rows()).toBe(max_seq_len)
    expect([await rows(100), await rows(3), await rows(1)]).toEqual([max_seq_len, 3, 1])
    for (const most of [0, -5, NaN])
      await expect(rows(most)).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  it('refuse a model without attention', async () => {
    const net = smallNet({ custom_layers: ['f'] } as never)
    await expect(attentionMaps(net, [1], ['a'])).rejects.toThrow(/no attention to show/)
  })

  it('refuse other models, and labels that do not fit', async () => {
    const net = smallNet()
    await expect(attentionMaps(net, [1], [])).rejects.toThrow(/as many tokens as ids/)
    await expect(attentionMaps(net, [], [])).rejects.toThrow(/one at least/)
    const other = attentionMaps(new Decoder({ dim: 8, depth: 1 }) as never, [1], ['a'])
    await expect(other).rejects.toThrow(/a TransformerWrapper or an AutoregressiveWrapper, got a/)
  })
})

/** Makes a model of the text that is its code. */
function built(code: string): Module {
  const body = code.replace(/^import .*$/m, '').replace('const model =', 'return')
  return new Function(...Object.keys(library), body)(...Object.values(library))
}

describe('the text of a model', () => {
  const layers = {
    dim: 32,
    depth: 2,
    heads: 4,
    rotary_pos_emb: true,
    ff_glu: true,
    custom_layers: ['a', 'f'],
  }
  const net = () =>
    new TransformerWrapper({
      num_tokens: 20,
      max_seq_len: 8,
      attn_layers: new Decoder({ ...layers, attn_dim_head: 8 } as never),
    })
  const models: Record<string, () => Module> = {
    Decoder: () => new Decoder({ dim: 8, depth: 1, heads: 2 }),
    TransformerWrapper: net,
    AutoregressiveWrapper: () => new AutoregressiveWrapper(net()),
    options: () => new AutoregressiveWrapper(net(), { ignore_index: -1, pad_value: 3 }),
    XTransformer: () =>
      new XTransformer({
        ...{ dim: 8, enc_num_tokens: 5, enc_depth: 1, enc_heads: 1, enc_max_seq_len: 4 },
        ...{ dec_num_tokens: 5, dec_depth: 1, dec_heads: 1, dec_max_seq_len: 4 },
      }),
  }

  it.each(Object.entries(models))('makes the same model: %s', (_, make) => {
    const model = make()
    const text = toTypeScript(model)
    expect(describeModel(built(text))).toEqual(describeModel(model))
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })

  it('is what people write', () => {
    const attn_layers = new Decoder({ dim: 8, depth: 1, heads: 2, attn_talking_heads: true })
    const net = new TransformerWrapper({ num_tokens: 5, max_seq_len: 4, attn_layers })
    const model = new AutoregressiveWrapper(net, { pad_value: 1 })
    expect(
      toTypeScript(model),
    ).toBe(`import { AutoregressiveWrapper, Decoder, TransformerWrapper } from 'x-transformers'

const model = new AutoregressiveWrapper(
  new TransformerWrapper({
    num_tokens: 5,
    max_seq_len: 4,
    attn_layers: new Decoder({ dim: 8, depth: 1, heads: 2, attn_talking_heads: true }),
  }),
  { pad_value: 1 },
)
`)
    expect(
      toPython(model),
    ).toBe(`from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

model = AutoregressiveWrapper(
  TransformerWrapper(
    num_tokens = 5,
    max_seq_len = 4,
    attn_layers = Decoder(dim = 8, depth = 1, heads = 2, attn_talking_heads = True),
  ),
  pad_value = 1,
)
`)
  })

  it('imports single layers in Python from where they are', () => {
    const layers: [Module, string, string][] = [
      [
        new Linear({ in_features: 2, out_features: 3, bias: false }),
        'torch.nn',
        'Linear(in_features = 2, out_features = 3, bias = False)',
      ],
      [
        new Embedding({ num_embeddings: 5, embedding_dim: 2, padding_idx: 0 }),
        'torch.nn',
        'Embedding(num_embeddings = 5, embedding_dim = 2, padding_idx = 0)',
      ],
      [new LayerNorm({ normalized_shape: 4 }), 'torch.nn', 'LayerNorm(normalized_shape = 4)'],
      [
        new RMSNorm({ normalized_shape: [2, 4], eps: 1e-5 }),
        'torch.nn',
        'RMSNorm(normalized_shape = [2, 4], eps = 0.00001)',
      ],
      [new Dropout({ p: 0.5 }), 'torch.nn', 'Dropout(p = 0.5)'],
      [
        new FeedForward({ dim: 4, glu: true }),
        'x_transformers.x_transformers',
        'FeedForward(dim = 4, glu = True)',
      ],
    ]
    for (const [model, from, code] of layers) {
      const name = code.slice(0, code.indexOf('('))
      expect(toPython(model)).toBe(`from ${from} import ${name}\n\nmodel = ${code}\n`)
      expect(describeModel(built(toTypeScript(model)))).toEqual(describeModel(model))
    }
    const within: DescribedModel = {
      class: 'Own',
      options: { head: describeModel(layers[0]?.[0] as Module) },
    }
    expect(toPython(within)).toMatch(
      /^from torch.nn import Linear\nfrom x_transformers import Own\n/,
    )
  })

  it('is that of models of others too, and has words for what JSON has none for', () => {
    class Own extends Module<object> {
      forward() {}
    }
    expect(toTypeScript(new Own({ size: 3, run: () => {}, name: 'a "b"' }))).toContain(
      'new Own({ size: 3, run: "a function", name: "a \\"b\\"" })',
    )
    expect(toPython(new Own())).toContain('model = Own()')
    const described: DescribedModel = { class: 'X', options: { a: null, b: { 'c d': [true] } } }
    expect(toPython(described)).toContain(`X(a = None, b = {"c d": [True]})`)
    expect(toTypeScript(described)).toContain(`new X({ a: null, b: { "c d": [true] } })`)
    expect(() => toPython(3 as never)).toThrow(/the model must be a Module/)
  })
})

it('leaves the random numbers of a program alone', async () => {
  const net = smallNet({ attn_dropout: 0.5 })
  manualSeed(8)
  const want = randint(0, 1000, [4]).toArray()
  manualSeed(8)
  await attentionMaps(net, [1, 2], ['a', 'b'])
  expect(randint(0, 1000, [4]).toArray()).toEqual(want)
})
