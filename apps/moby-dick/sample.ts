// The command of `npm run sample`: lets a trained model write.
import { Command } from 'commander'
import { type AutoregressiveWrapper, load, manualSeed } from 'x-transformers'
import { command, userPath } from '../../scripts/command.js'
import { positive, whole } from './arguments.js'
import { INTERRUPTED, Interrupt } from './interrupt.js'
import { sample } from './sampling.js'
import { Vocabulary } from './vocabulary.js'

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
  const { seed, ...options } = program.parse().opts<Options>()
  const checkpoint = userPath(program.processedArgs[0])
  const interrupt = new Interrupt(() => process.stdout.write('\n'))
  const model = (await load(checkpoint)) as AutoregressiveWrapper
  const vocabulary = Vocabulary.load(checkpoint)
  if (seed !== undefined) manualSeed(seed)
  await sample(model, vocabulary, { ...options, signal: interrupt.signal }, (text) =>
    process.stdout.write(text),
  )
  if (interrupt.requested) process.exitCode = INTERRUPTED
})
