// The command of `npm run sample`: lets a trained model write.
import { Command } from 'commander'
import { positive, whole } from '../../packages/cli/src/arguments.js'
import { generate } from '../../packages/cli/src/model/generate.js'
import { command, userPath } from '../../scripts/command.js'

const program = new Command('npm run sample --')
  .description('Writes text with a model that `npm start` has trained.')
  .argument(
    '[checkpoint]',
    'the file that `npm start` has saved',
    'checkpoints/moby-dick.safetensors',
  )
  .option('--prompt <text>', 'what the text starts with', 'Call me Ishmael. ')
  .option('--characters <n>', 'how many to write', whole(1), 1000)
  .option('--temperature <n>', 'of the sampling: lower is safer, higher is bolder', positive, 0.8)
  .option('--seed <n>', 'for the same text again', whole(0))

type Options = { prompt: string; characters: number; temperature: number; seed?: number }

await command(async () => {
  const { characters: tokens, ...options } = program.parse().opts<Options>()
  await generate(userPath(program.processedArgs[0]), { ...options, tokens })
})
