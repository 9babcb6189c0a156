/** Every family, by `model_type`. */
import { albert } from './albert.js'
import { bert } from './bert.js'
import type { Family } from './family.js'
import { gemma } from './gemma.js'
import { gemma2 } from './gemma2.js'
import { gemma3 } from './gemma3.js'
import { gptNeox } from './gpt-neox.js'
import { gpt2 } from './gpt2.js'
import { granite } from './granite.js'
import { llama } from './llama.js'
import { mistral } from './mistral.js'
import { olmo } from './olmo.js'
import { olmo2 } from './olmo2.js'
import { phi } from './phi.js'
import { phi3 } from './phi3.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'
import { smollm3 } from './smollm3.js'
import { stablelm } from './stablelm.js'
import { t5 } from './t5.js'
import { vit } from './vit.js'

export const FAMILIES: readonly Family[] = [
  ...[gpt2, gptNeox, llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3, phi, phi3],
  ...[olmo, olmo2, stablelm, smollm3, granite, bert, albert, vit, t5],
]

/** The family of a `model_type`; undefined where none is covered. */
export const familyOf = (type: string): Family | undefined =>
  FAMILIES.find(({ types }) => types.includes(type))
