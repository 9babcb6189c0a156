// Uses the public interface with the addon that X_TRANSFORMERS_ADDON names; its argument is the
// platform. Ends with an error where something is wrong.
import assert from 'node:assert/strict'
import { arch, platform } from 'node:process'
import {
  AdamW,
  AutoregressiveWrapper,
  Decoder,
  info,
  load,
  manualSeed,
  memory,
  noGrad,
  randint,
  TransformerWrapper,
  tensor,
  trainStep,
} from 'x-transformers'

const [os, cpu] = process.argv[2].split('-')
assert.deepEqual([platform, arch], [os, cpu])
assert.equal(info().target, 'native')

manualSeed(1)
const attn_layers = new Decoder({ dim: 64, depth: 2, heads: 4, rotary_pos_emb: true, ff_glu: true })
const net = new TransformerWrapper({ num_tokens: 32, max_seq_len: 32, attn_layers })
const model = new AutoregressiveWrapper(net)
const optimizer = new AdamW(model.parameters(), { lr: 3e-3 })
const batch = randint(0, 32, [4, 17])
const losses = []
for (let i = 0; i < 20; i++)
  losses.push((await trainStep(model, optimizer, [[batch]], { max_grad_norm: 1 })).loss)
assert(losses.at(-1) < losses[0] / 2, `the loss does not fall: ${losses}`)

const prompt = tensor([[1, 2, 3]], { dtype: 'i64' })
const greedy = async (model) => (await model.generate(prompt, 12, { temperature: 0 })).toArray()
const tokens = await greedy(model)
const streamed = []
for await (const token of model.stream(prompt, 12, { temperature: 0 })) streamed.push(token)
assert.deepEqual(streamed, tokens[0])

const again = await load(await model.saveBytes())
assert.deepEqual(await greedy(again), tokens)
const loss = async (model) => (await noGrad(() => model.forward(batch))).item()
assert.equal(await loss(again), await loss(model))

again.quantize('q8_0')
assert(Math.abs((await loss(again)) - (await loss(model))) < 0.1)
assert.throws(() => new Decoder({ dim: 8, depth: 1, head: 1 }), { code: 'invalid_options' })

const before = memory().native_bytes
again.dispose()
assert(memory().native_bytes < before)
console.log(`${losses.length} steps, ${tokens[0].length} tokens, saved, loaded and quantized`)
