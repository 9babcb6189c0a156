import type { Command } from 'commander'
import {
  addRuntimeOptions,
  examples,
  jsonOption,
  type RuntimeSettings,
  whole,
} from '../arguments.js'

export interface ServeSettings extends RuntimeSettings {
  host: string
  port: number
  queue: number
  maxBody: number
  maxTokens: number
  cors?: string
  json?: boolean
}

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .summary('answer over HTTP, as the completions of OpenAI')
    .description(
      'Serves POST /v1/completions, GET /v1/models and GET /health. Requests are answered one after the other; a client that leaves frees its place. Ctrl-C finishes what has begun.',
    )
    .argument('<model>', 'the folder of a run, a checkpoint in it, or a .safetensors file')
    .option('--host <name>', 'the address to listen at', '127.0.0.1')
    .option('--port <n>', 'the port; 0 takes a free one', whole(0, 65535), 8080)
    .option('--queue <n>', 'the most requests that wait; more are refused with 429', whole(0), 32)
    .option('--max-body <n>', 'the most bytes of a request', whole(1), 1_000_000)
    .option('--max-tokens <n>', 'the most tokens of an answer', whole(1), 4096)
    .option('--cors <origin>', 'pages of this origin may ask (* for all)')
    .addOption(jsonOption())
  addRuntimeOptions(command)
  examples(command, [['serve runs/book --port 8080', 'a model over HTTP']])
  command.addHelpText(
    'after',
    `
  # then, in another terminal:
  $ curl -N http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' \\
      -d '{"prompt": "The whale", "max_tokens": 50, "stream": true}'`,
  )
  command.action(async (model: string, settings: ServeSettings) => {
    const { serve } = await import('../serve/command.js')
    await serve(model, settings)
  })
}
