// The page of a report in Chromium: what it draws, and what it tells to whom points at it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Locator, type Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AdamW, manualSeed } from 'x-transformers'
import {
  attentionMaps,
  reportHtml,
  toPython,
  toTypeScript,
  writeReport,
} from 'x-transformers/report'
import { jsonlLogger, Trainer } from 'x-transformers/train'
import { ensureChromium, FLAGS } from '../../scripts/chromium.mjs'
import { ids, smallModel } from '../api/helpers.js'

/** What a page must show as it is. */
const TEXT = '</script><img src=x onerror="throw 1"> &amp; \u2028 é\n  $& end'
const TOKENS = ['The', ' <b>', '\n']
const STEPS = 40

let folder: string
let browser: Browser
let page: Page
let model: ReturnType<typeof smallModel>
const problems: string[] = []
const requests: string[] = []

async function train(name: string): Promise<void> {
  model = smallModel()
  const folderOf = join(folder, name, 'metrics.jsonl')
  await new Trainer(model, {
    data: [[ids(2, 8)], [ids(3, 6)]],
    ...{ optimizer: new AdamW(model.parameters(), { lr: 1e-2 }), steps: STEPS, clip: 1, norms: {} },
    eval: { data: [[ids(2, 7)]], every: 10 },
    sample: { every: 20, make: () => `${name}: ${TEXT}` },
    loggers: [jsonlLogger(folderOf)],
  }).run()
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-report-'))
  manualSeed(1)
  await train('first')
  await train('second')
  const attention = await attentionMaps(model, [1, 2, 3], TOKENS)
  const [first, second] = ['first', 'second'].map((name) => join(folder, name, 'metrics.jsonl'))
  const path = join(folder, 'report.html')
  await writeReport(
    [first as string, { name: '<i>second', metrics: second as string, attention }],
    path,
  )
  browser = await chromium.launch({ executablePath: await ensureChromium(), args: FLAGS })
  page = await browser.newPage({ viewport: { width: 1200, height: 900 } })
  page.on('console', (message) => problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('dialog', (dialog) => problems.push(dialog.message()))
  page.on('request', (request) => requests.push(request.url()))
  await page.goto(pathToFileURL(path).href)
}, 120_000)

afterAll(async () => {
  await browser?.close()
  rmSync(folder, { recursive: true, force: true })
  expect(problems).toEqual([])
})

const section = (id: string) => page.locator(`#${id}`)
const chart = (title: string) =>
  page.locator('figure', { has: page.getByRole('heading', { name: title, exact: true }) })
const tip = () => page.locator('.tip').innerText()

/** How many colours a canvas has. */
const coloursOf = (canvas: Locator) =>
  canvas.evaluate((element) => {
    const { width, height } = element as HTMLCanvasElement
    const context = (element as HTMLCanvasElement).getContext('2d') as CanvasRenderingContext2D
    return new Set(new Uint32Array(context.getImageData(0, 0, width, height).data.buffer)).size
  })

/** Points at a share of the width of a chart. */
async function point(title: string, share: number): Promise<string> {
  const over = chart(title).locator('.u-over')
  await over.scrollIntoViewIfNeeded()
  const { width, height } = (await over.boundingBox()) as { width: number; height: number }
  await over.hover({
    position: { x: Math.min(width - 2, Math.max(1, share * width)), y: height / 2 },
  })
  return await tip()
}

const stepOf = (text: string) => Number(text.match(/^step (\d+)/)?.[1])

describe('the page', () => {
  it('draws everything, and asks for nothing', async () => {
    const titles = ['Summary', 'Curves', 'Gradient norms', 'Samples', 'Attention', 'Configuration']
    expect(await page.locator('section h2').allInnerTexts()).toEqual(titles)
    expect(await page.locator('nav a').allInnerTexts()).toEqual(titles)
    for (const title of ['Loss', 'Learning rate', 'Gradient norm', 'Tokens per second', 'By layer'])
      expect(await coloursOf(chart(title).locator('canvas')), title).toBeGreaterThan(10)
    expect(requests).toHaveLength(1)
    expect(problems).toEqual([])
  })

  it('has the last numbers of each run', async () => {
    const rows = await section('summary').locator('tr').allInnerTexts()
    const cells = Object.fromEntries(rows.map((row) => row.split(/\t/)).map(([a, ...b]) => [a, b]))
    expect(cells['']).toEqual(['first', '<i>second'])
    expect(cells.Steps).toEqual([`${STEPS}`, `${STEPS}`])
    expect(cells.Optimizer).toEqual(['AdamW', 'AdamW'])
    expect(cells.End).toEqual(['finished', 'finished'])
    expect(Number(cells['Train loss']?.[0])).toBeGreaterThan(0)
  })

  it('tells the values below the pointer', async () => {
    const told = await point('Loss', 1)
    expect(told).toMatch(
      /^step 40\nfirst, train [\d.]+\n<i>second, train [\d.]+\nfirst, eval [\d.]+/,
    )
    expect(stepOf(await point('Loss', 0))).toBe(1)
    expect(await point('By layer', 0.5)).toMatch(/token_emb [\d.e-]+\n/)
  })

  it('zooms into all curves at once, and out again', async () => {
    const over = chart('Loss').locator('.u-over')
    await over.scrollIntoViewIfNeeded()
    const { x, y, width } = (await over.boundingBox()) as { x: number; y: number; width: number }
    await page.mouse.move(x + width / 2, y + 50)
    await page.mouse.down()
    await page.mouse.move(x + 0.9 * width, y + 60, { steps: 4 })
    await page.mouse.up()
    const [least, most] = [stepOf(await point('Loss', 0)), stepOf(await point('Loss', 1))]
    expect(least).toBeGreaterThanOrEqual(20)
    expect(least).toBeLessThanOrEqual(22)
    expect(most).toBeLessThanOrEqual(37)
    expect(stepOf(await point('Learning rate', 0))).toBe(least)
    await chart('Loss').locator('.u-over').dblclick()
    expect(stepOf(await point('Learning rate', 0))).toBe(1)
  })

  it('changes axes, scales and smoothing, and hides runs', async () => {
    const curves = section('curves')
    await curves.getByRole('button', { name: 'tokens' }).click()
    expect(await point('Loss', 1)).toMatch(/^\d+ tokens\n/)
    await curves.getByRole('button', { name: 'steps' }).click()
    const smooth = await point('Loss', 0.5)
    await curves.getByRole('slider').fill('0')
    expect(await point('Loss', 0.5)).not.toBe(smooth)
    await chart('Loss').getByRole('button', { name: 'log' }).click()
    expect(await coloursOf(chart('Loss').locator('canvas'))).toBeGreaterThan(10)
    await curves.getByRole('button', { name: 'first' }).click()
    expect(await point('Loss', 0.5)).not.toContain('first')
  })

  it('has a heat map of the norms', async () => {
    const norms = section('gradient-norms')
    await norms.getByRole('button', { name: 'heat map' }).click()
    const canvas = norms.locator('.heat canvas')
    expect(await coloursOf(canvas)).toBeGreaterThan(20)
    await canvas.hover({ position: { x: 2, y: 2 } })
    expect(await tip()).toMatch(/^token_emb, step 1\n[\d.e-]+$/)
  })

  it('shows the samples of each step as they are', async () => {
    const samples = section('samples')
    const shown = () => samples.locator('pre').evaluateAll((all) => all.map((e) => e.textContent))
    expect(await shown()).toEqual(['first', 'second'].map((name) => `${name}: ${TEXT}`))
    expect(await samples.locator('h3').allInnerTexts()).toEqual([
      ...['first step 40', '<i>second step 40'],
    ])
    await samples.getByRole('slider').fill('0')
    expect(await samples.locator('h3').first().innerText()).toBe('first step 20')
    expect(await page.locator('img').count()).toBe(0)
  })

  it('tells which tokens a head attends to', async () => {
    const attention = section('attention')
    expect(await attention.locator('.heads button').count()).toBe(2)
    await attention.locator('.heads button').nth(1).click()
    expect(await attention.locator('h3').innerText()).toContain('Layer 1, head 2')
    const canvas = attention.locator('.cells canvas')
    // the third token, and the second
    await canvas.hover({ position: { x: 33, y: 55 } })
    expect(await tip()).toMatch(/^“↵” attends to “␣<b>”\n0\.\d+$/)
    expect(await attention.locator('span.on').allInnerTexts()).toEqual(['␣<b>', '↵'])
    // nothing attends to what comes later
    await canvas.hover({ position: { x: 55, y: 11 } })
    expect(await tip()).toBe('“The” attends to “↵”\n0')
  })

  it('has the model as code', async () => {
    const configuration = section('configuration')
    const code = () => configuration.locator('pre').innerText()
    expect(`${(await code()).trim()}\n`).toBe(toTypeScript(model))
    await configuration.getByRole('button', { name: 'Python' }).click()
    expect(`${(await code()).trim()}\n`).toBe(toPython(model))
    await configuration.getByRole('button', { name: 'options' }).click()
    expect(JSON.parse(await code())).toMatchObject({ steps: STEPS, optimizer: { class: 'AdamW' } })
  })

  it('has no number for a loss that is not finite', async () => {
    const losses = [NaN, 0.5, NaN]
    const metrics = losses.map((loss, i) => ({
      ...{ type: 'evaluation' as const, step: i + 1, loss, best: i === 1, seconds: 1 },
    }))
    const other = await browser.newPage()
    await other.setContent(reportHtml([{ metrics: JSON.parse(JSON.stringify(metrics)) }]))
    const tiles = await other.locator('#summary .tiles > div').allInnerTexts()
    expect(tiles.map((text) => text.replace(/\n+/, ': '))).toContain('Best eval loss: 0.5 at 2')
    expect(tiles.join()).not.toContain('Eval loss')
    await other.close()
  })

  it('is light or dark, as the system is and as it is told to', async () => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.getByRole('button', { name: 'Light or dark' }).click()
    const dark = await background()
    expect(dark).not.toBe(light)
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.reload()
    expect(await background()).toBe(dark)
    expect(await coloursOf(chart('Loss').locator('canvas'))).toBeGreaterThan(10)
  })
})
