// Writes the JSON schema of configurations to standard output, for the build.
import { toJsonSchema } from '@valibot/to-json-schema'
import { ConfigSchema } from './src/config/schema.js'

const schema = toJsonSchema(ConfigSchema, { typeMode: 'input', errorMode: 'ignore' })
process.stdout.write(
  `${JSON.stringify({ title: 'A configuration of x-transformers train', ...schema }, null, 2)}\n`,
)
