/** The tokenizer of a model, with its chat template. */
import type { ReadOptions } from '../control.js'
import { PretrainedTokenizer } from '../tokenizers/pretrained.js'
import type { Json } from './config/read.js'
import { type ModelFiles, readJSON, readTextFile } from './files.js'

/** The files of a tokenizer, as they are. */
export interface TokenizerJSONFiles {
  readonly 'tokenizer.json': Json
  readonly 'tokenizer_config.json': Json | null
  /** The template of chats, where it is not in the configuration. */
  readonly 'chat_template.jinja': string | null
}

const CHAT = 'chat_template.jinja'

/** The tokenizer among the files of a model; null where there is no tokenizer.json. */
export async function readTokenizer(
  files: ModelFiles,
  options: ReadOptions,
): Promise<{ tokenizer: PretrainedTokenizer; files: TokenizerJSONFiles } | null> {
  const json = await readJSON(files, 'tokenizer.json', options)
  if (json === null) return null
  const config = await readJSON(files, 'tokenizer_config.json', options)
  const template = await readTextFile(files, CHAT, options)
  const tokenizer = await PretrainedTokenizer.from({
    tokenizer: json,
    config: { ...config, ...(template !== null && { chat_template: template }) },
  })
  const kept = { 'tokenizer.json': json, 'tokenizer_config.json': config, [CHAT]: template }
  return { tokenizer, files: kept }
}
