// Folders of small models of Hugging Face, for the blocks of docs/huggingface.md.
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './pages.js'

const recorded = (path: string) => join(root, 'test/huggingface', path)

const WORDS = [
  ...['<pad>', '<s>', '</s>', '<user>', '<assistant>', '<unk>'],
  ...['the', 'old', 'whale', 'a', 'ship', 'at', 'sea', 'where', 'is'],
]

/** Words as tokens, as many as the models have. */
function tokenizer() {
  const all = Array.from({ length: 48 }, (_, id) => WORDS[id] ?? `w${id}`)
  const special = all.slice(0, 6).map((content, id) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }))
  return {
    version: '1.0',
    added_tokens: special,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(all.map((token, id) => [token, id])),
      unk_token: '<unk>',
    },
  }
}

const TEMPLATE = `{% for message in messages %}<{{ message.role }}> {{ message.content }} {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`

function writeTokenizer(folder: string): void {
  const config = { bos_token: '<s>', eos_token: '</s>', chat_template: TEMPLATE }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer()))
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config))
}

/** Writes tiny-llama, tiny-gpt2 and tiny-minilm. */
export function writeModels(folder: string): void {
  const [llama, gpt2, minilm] = ['tiny-llama', 'tiny-gpt2', 'tiny-minilm'].map((name) =>
    join(folder, name),
  ) as [string, string, string]
  cpSync(recorded('sharded'), llama, { recursive: true })
  cpSync(recorded('pickled'), gpt2, { recursive: true })
  mkdirSync(minilm)
  const { config } = JSON.parse(readFileSync(recorded('minilm.json'), 'utf8'))
  writeFileSync(join(minilm, 'config.json'), JSON.stringify(config))
  copyFileSync(recorded('minilm.safetensors'), join(minilm, 'model.safetensors'))
  for (const path of [llama, minilm]) writeTokenizer(path)
}
