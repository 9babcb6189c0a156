// What LoRA reads and refuses of files: its own, and those of peft.
import { describe, expect, it } from 'vitest'
import { EMA, LoRA, ones, saveTensors, type Tensor } from 'x-transformers'
import { expectError, FakeFile } from './bytes.js'
import { expectClose, smallModel } from './helpers.js'
import { frozenIn, logits, randomB, values, X } from './updates.js'

const TO_Q = 'net.attn_layers.layers.0.1.to_q'
const OPTIONS = { target_modules: '*.to_*', r: 2, lora_alpha: 6 }

/** A file with these tensors, as peft writes it: without the factor. */
async function fileOf(tensors: Record<string, Tensor>, metadata = {}): Promise<Uint8Array> {
  const file = new FakeFile()
  const named = Object.entries(tensors).map(([name, x]) => [`base_model.model.${name}`, x] as const)
  await saveTensors(new Map(named), file as never, metadata)
  return file.content
}

/** The matrices of one layer of the small model. */
const matrices = (r = 2, layer = TO_Q) => ({
  [`${layer}.lora_A.weight`]: ones([r, 16]),
  [`${layer}.lora_B.weight`]: ones([16, r]),
})

describe('the file of a LoRA', () => {
  it('of another width is refused before anything is added', async () => {
    const wide = smallModel({ dim: 32 })
    const file = await new LoRA(wide, OPTIONS).saveBytes()
    const model = smallModel()
    await expectError(
      LoRA.load(model, file),
      'invalid_checkpoint',
      /to_q\.lora_A\.weight has shape \[2,32\], this LoRA needs \[2,16\]/,
    )
    expect(LoRA.of(model)).toEqual([])
    expect(frozenIn(model)).toBe(0)
    const torn = await fileOf({ ...matrices(), [`${TO_Q}.lora_B.weight`]: ones([16, 3]) })
    await expectError(
      LoRA.load(model, torn, { lora_alpha: 2 }),
      'invalid_checkpoint',
      /lora_B\.weight has shape \[16,3\], this LoRA needs \[16,2\]/,
    )
  })

  it('of another rank, factor or other layers is not read into matrices that are there', async () => {
    const model = smallModel()
    const lora = new LoRA(model, OPTIONS)
    randomB(model, lora)
    const before = values(model)
    const fileWith = async (more: object) =>
      await new LoRA(smallModel(), { ...OPTIONS, ...more }).saveBytes()
    const wrong: [object, RegExp][] = [
      [{ r: 4, lora_alpha: 12 }, /has shape \[4,16\], this LoRA needs \[2,16\]/],
      [{ lora_alpha: 3 }, /the factor 1\.5, and the factor of this LoRA is 3/],
      [{ target_modules: '*.to_q' }, /to_v\.lora_B\.weight is missing/],
      [{ target_modules: '*' }, /ff\..*lora_A\.weight belongs to no layer of this LoRA\n/],
    ]
    for (const [more, message] of wrong)
      await expectError(lora.load(await fileWith(more)), 'invalid_checkpoint', message)
    expect(values(model)).toEqual(before)
  })

  it('keeps the factor to its last bit', async () => {
    const first = new LoRA(smallModel(), { r: 3, lora_alpha: 13, use_rslora: true })
    // the way over lora_alpha would lose it
    expect((first.scale * 3) / 3).not.toBe(first.scale)
    const { scale } = await LoRA.load(smallModel(), await first.saveBytes())
    expect(scale).toBe(first.scale)
  })

  it('of peft needs lora_alpha, and use_rslora says nothing without it', async () => {
    const peft = await fileOf(matrices())
    const own = await new LoRA(smallModel(), OPTIONS).saveBytes()
    const loaded = await LoRA.load(smallModel(), peft, { lora_alpha: 8, use_rslora: true })
    expect(loaded.scale).toBe(8 / Math.sqrt(2))
    // null is as absent
    const absent = { lora_alpha: null, use_rslora: null } as never
    expect((await LoRA.load(smallModel(), own, absent)).scale).toBe(3)
    await expectError(
      LoRA.load(smallModel(), peft, absent),
      'invalid_options',
      /does not say the factor/,
    )
    for (const file of [peft, own])
      await expectError(
        LoRA.load(smallModel(), file, { use_rslora: true }),
        'invalid_options',
        /give lora_alpha too/,
      )
  })

  it('says what of peft is not supported', async () => {
    const model = smallModel()
    const load = async (more: Record<string, Tensor>) =>
      await LoRA.load(model, await fileOf({ ...matrices(), ...more }), { lora_alpha: 2 })
    const wrong: [Record<string, Tensor>, RegExp][] = [
      [
        { 'net.to_logits.weight': ones([2]) },
        /of this LoRA: whole layers of peft's modules_to_save/,
      ],
      [{ [`${TO_Q}.bias`]: ones([2]) }, /of this LoRA: biases that peft's bias option/],
      [{ 'net.token_emb.lora_embedding_A': ones([2]) }, /of this LoRA: updates of embeddings/],
      [
        matrices(4, TO_Q.replace('to_q', 'to_v')),
        /one rank.*r 2 \(\S*to_q\), r 4 \(\S*to_v\)\. rank_pattern of peft/s,
      ],
    ]
    for (const [more, message] of wrong)
      await expectError(load(more), 'invalid_checkpoint', /not supported/).then(() =>
        expectError(load(more), 'invalid_checkpoint', message),
      )
    expect(LoRA.of(model)).toEqual([])
  })

  it('names all layers that the model does not have', async () => {
    const file = await fileOf({ ...matrices(2, 'q_proj'), ...matrices(2, 'v_proj') })
    await expectError(
      LoRA.load(smallModel(), file, { lora_alpha: 2 }),
      'invalid_checkpoint',
      /does not have: q_proj, v_proj; the model has .*to_q/,
    )
  })

  it('is read in its turn: calls before it end, later ones wait', async () => {
    const model = smallModel().eval()
    const plain = await logits(model)
    const trained = new LoRA(smallModel(), OPTIONS)
    const file = await trained.saveBytes()
    const pending = model.net.forward(X)
    const loading = LoRA.load(model, file)
    const names = Promise.resolve(model.forward(X)).then(() => LoRA.of(model).length)
    const lora = await loading
    await pending
    expect(await names).toBe(1)
    randomB(model, lora)
    expect(await logits(model)).not.toEqual(plain)
    const beside = model.net.forward(X)
    const reading = lora.load(file)
    const after = logits(model)
    await Promise.all([beside, reading])
    // B is 0 in the file
    expectClose(await after, plain, 1e-6)
  })

  it('may be aborted until its turn has come', async () => {
    const model = smallModel()
    const file = await new LoRA(smallModel(), OPTIONS).saveBytes()
    const controller = new AbortController()
    const pending = model.forward(X)
    const loading = LoRA.load(model, file, { signal: controller.signal })
    controller.abort(new Error('of the caller'))
    await expect(loading).rejects.toThrow('of the caller')
    await pending
    expect(LoRA.of(model)).toEqual([])
    expect(frozenIn(model)).toBe(0)
  })

  it('gets no name of another format', async () => {
    const model = smallModel()
    const lora = new LoRA(model)
    const message = /"x\.safetensors" in place of "x\.pt"/
    await expectError(lora.save('x.pt'), 'invalid_argument', message)
    await expectError(new EMA(model).save('x.pt'), 'invalid_argument', message)
  })
})
