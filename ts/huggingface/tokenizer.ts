/** The tokenizer of a model, with its chat template. */
import type { ReadOptions } from '../control.js'
import { PretrainedTokenizer } from '../tokenizers/pretrained.js'
import { withSpecialTokens } from '../tokenizers/special-files.js'
import type { Json } from './config/read.js'
import { type ModelFiles, readJSON, readTextFile } from './files.js'

/** The files of a tokenizer, as they are. */
export interface TokenizerJSONFiles {
  readonly 'tokenizer.json': Json
  readonly 'tokenizer_config.json': Json | null
  /** The special tokens, which the configuration may leave out. */
  readonly 'special_tokens_map.json': Json | null
  /** The template of chats, where it is not in the configuration. */
  readonly 'chat_template.jinja': string | null
}

const CONFIG = 'tokenizer_config.json'
const SPECIAL = 'special_tokens_map.json'
const CHAT = 'chat_template.jinja'

/** The tokenizer among the files of a model; null where there is no tokenizer.json. */
export async function readTokenizer(
  files: ModelFiles,
  options: ReadOptions,
): Promise<{ tokenizer: PretrainedTokenizer; files: TokenizerJSONFiles } | null> {
  const json = await readJSON(files, 'tokenizer.json', options)
  if (json === null) return null
  const config = await readJSON(files, CONFIG, options)
  const special = await readJSON(files, SPECIAL, options)
  const template = await readTextFile(files, CHAT, options)
  const tokenizer = await PretrainedTokenizer.from({
    tokenizer: json,
    config: {
      ...withSpecialTokens(config, special),
      ...(template !== null && { chat_template: template }),
    },
  })
  const kept = { [CONFIG]: config, [SPECIAL]: special, [CHAT]: template }
  return { tokenizer, files: { 'tokenizer.json': json, ...kept } }
}
