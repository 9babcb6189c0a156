/** The command `x-transformers`. What a subcommand needs is imported once it is called. */
import { CommanderError } from 'commander'
import { EXIT } from './errors.js'
import { explain } from './explain.js'
import { forgiveClosedPipes } from './output.js'
import { makeProgram } from './program.js'

forgiveClosedPipes()
try {
  await makeProgram().parseAsync()
} catch (error) {
  // commander has written its message already
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  else process.exitCode = explain(error)
}
