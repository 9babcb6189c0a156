/** The subcommands with their options: nothing here loads the library. */
import { Command } from 'commander'
import { addChat } from './commands/chat.js'
import { addConvert } from './commands/convert.js'
import { addDoctor } from './commands/doctor.js'
import { addEval } from './commands/eval.js'
import { addGenerate } from './commands/generate.js'
import { addInspect } from './commands/inspect.js'
import { addReport } from './commands/report.js'
import { addServe } from './commands/serve.js'
import { addTrain } from './commands/train.js'
import { packageVersion } from './root.js'

const EXIT_CODES = `
Exit codes:
  0    done
  1    it failed; the reason is on standard error
  2    the command line or the configuration is wrong
  130  ended by Ctrl-C, after a checkpoint where one is written

x-transformers COMMAND --help has the options of a command, and examples.`

export function makeProgram(): Command {
  const program = new Command('x-transformers')
    .description('Trains transformers, and lets them write.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError('(x-transformers --help has the commands)')
    .addHelpText('after', EXIT_CODES)
    // errors are thrown, so that what they end with is decided in one place
    .exitOverride()
  const adders = [
    addTrain,
    addGenerate,
    addChat,
    addServe,
    addEval,
    addInspect,
    addReport,
    addConvert,
  ]
  for (const add of [...adders, addDoctor]) add(program)
  for (const command of program.commands)
    command
      .copyInheritedSettings(program)
      .showHelpAfterError(`(x-transformers ${command.name()} --help has the options)`)
  return program
}
