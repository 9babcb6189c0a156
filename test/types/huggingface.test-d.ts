// Checked by `tsc --noEmit`: models of Hugging Face, and presets.
import type {
  GenerateOptions,
  TransformerWrapper,
  ViTransformerWrapper,
  XTransformer,
} from 'x-transformers'
import {
  fromHuggingFace,
  type MaskedHead,
  type Pooler,
  presets,
  toHuggingFace,
} from 'x-transformers/huggingface'
import type { PretrainedTokenizer } from 'x-transformers/tokenizers'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is =
  <Want>() =>
  <Got>(_: Got, ..._same: Equal<Got, Want> extends true ? [] : [error: 'not that type']) => {}

const loaded = await fromHuggingFace('folder')
is<TransformerWrapper>()(loaded.model)
is<PretrainedTokenizer | undefined>()(loaded.tokenizer)
is<GenerateOptions>()(loaded.generation)
is<Pooler | undefined>()(loaded.heads.pooler)
is<MaskedHead | undefined>()(loaded.heads.mlm)
await toHuggingFace(loaded.model, 'folder', { dtype: 'bf16' })

const files = { 'config.json': new Uint8Array(), 'model.safetensors': new Blob() }
is<XTransformer>()((await fromHuggingFace<XTransformer>(files)).model)
await fromHuggingFace([new File([], 'config.json')], { tokenizer: false, ignore: ['a'] })
declare const chosen: FileList
await fromHuggingFace(chosen)
await fromHuggingFace(new URL('https://example.org/'), { signal: AbortSignal.timeout(1) })

// @ts-expect-error no model of Hugging Face
await fromHuggingFace<PretrainedTokenizer>('folder')
// @ts-expect-error no source
await fromHuggingFace(3)
// @ts-expect-error no type of weights
await toHuggingFace(loaded.model, 'folder', { dtype: 'f64' })

const sizes = { num_tokens: 9, max_seq_len: 8, dim: 8, depth: 1, heads: 1 }
is<TransformerWrapper>()(presets.llama({ ...sizes, kv_heads: 1 }))
is<XTransformer>()(presets.t5(sizes))
const images = { image_size: 8, patch_size: 4, num_classes: 2, dim: 8, depth: 1, heads: 1 }
is<ViTransformerWrapper>()(presets.vit(images))
// @ts-expect-error GPT-2 has as many heads of keys as of queries
presets.gpt2({ ...sizes, kv_heads: 1 })
// @ts-expect-error a size is missing
presets.llama({ num_tokens: 9 })
