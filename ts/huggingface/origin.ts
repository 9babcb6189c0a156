/** What is known of a model that came from Hugging Face, or is to go there. */
import type { Module } from '../module/module.js'
import { SELF } from '../symbols.js'
import type { Heads } from './build.js'
import type { Json } from './config/read.js'
import type { TokenizerJSONFiles } from './tokenizer.js'

/** What `toHuggingFace()` needs besides the weights. */
export interface Origin {
  config: Json
  /** generation_config.json, where there was one. */
  generation: Json | null
  /** The names of the tensors in the files, by those in the rules. */
  names: ReadonlyMap<string, string>
  heads: Heads
  /** Names of fields that change nothing. */
  ignored: ReadonlySet<string>
  tokenizer: TokenizerJSONFiles | null
}

// goes with the model
const origins = new WeakMap<object, Origin>()

export const noteOrigin = (model: Module, origin: Origin): void => {
  origins.set(model[SELF], origin)
}

export const originOf = (model: Module): Origin | undefined => origins.get(model[SELF])
