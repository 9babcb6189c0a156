/// <reference types="vite/client" />
/** Files written by Python (test/checkpoints), on every platform. */
import { Decoder, type Tensor, TransformerWrapper, tensor } from 'x-transformers'
import { expectClose } from './helpers.js'

const files = import.meta.glob<string>('../checkpoints/*.{pt,safetensors,zip}', {
  query: '?url&inline',
  import: 'default',
})
const texts = import.meta.glob<object>('../checkpoints/*.json', { import: 'default' })

/** The bytes of a recorded file. */
export async function recorded(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const address = await files[`../checkpoints/${name}`]?.()
  if (address !== undefined) return new Uint8Array(await (await fetch(address)).arrayBuffer())
  return new TextEncoder().encode(JSON.stringify(await recordedJson(name)))
}

export async function recordedJson<T = unknown>(name: string): Promise<T> {
  const text = await texts[`../checkpoints/${name}`]?.()
  if (text === undefined) throw new Error(`there is no ${name} in test/checkpoints`)
  return text as T
}

/** The contents of `model.json`. */
export interface Recorded {
  options: { num_tokens: number; max_seq_len: number }
  layers: { dim: number; depth: number; heads: number; attn_dim_head: number; ff_mult: number }
  tokens: number[]
  logits: number[]
  f16: number[]
  bf16: number[]
}

export const recordedModel = () => recordedJson<Recorded>('model.json')

/** The recorded model, with other weights. */
export async function makeRecorded(): Promise<TransformerWrapper> {
  const { options, layers } = await recordedModel()
  return new TransformerWrapper({ ...options, attn_layers: new Decoder(layers) }).eval()
}

/** Expects the logits recorded in Python. */
export async function expectRecorded(
  model: { forward(tokens: Tensor): Promise<Tensor> },
  which: 'logits' | 'f16' | 'bf16' = 'logits',
): Promise<void> {
  const want = await recordedModel()
  const logits = await model.forward(
    tensor(want.tokens, { shape: [1, want.tokens.length], dtype: 'i64' }),
  )
  expectClose(Array.from(await logits.data(), Number), want[which], 1e-5)
}
