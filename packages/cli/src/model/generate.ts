import { text as readAll } from 'node:stream/consumers'
import type { GenerateSettings } from '../commands/generate.js'
import { Interrupted } from '../errors.js'
import { Interrupt } from '../interrupt.js'
import { Output } from '../output.js'
import { applyRuntime } from '../runtime.js'
import { openWriter } from './open.js'
import { writeText } from './write.js'

/** Writes text that goes on from a prompt: `x-transformers generate`. */
export async function generate(path: string, settings: GenerateSettings): Promise<void> {
  const output = new Output(settings.json)
  const { prompt: given = '', tokens, stop } = settings
  const prompt = given === '-' ? await readAll(process.stdin) : given
  applyRuntime(settings)
  const writer = await openWriter(path)
  const interrupt = new Interrupt()
  const start = performance.now()
  const writing = { ...settings, prompt, tokens, stop, signal: interrupt.signal }
  if (!output.json) output.write(prompt)
  try {
    const onText = output.json ? undefined : (text: string) => output.write(text)
    const written = await writeText(writer, writing, onText)
    if (!output.json) output.line()
    const seconds = (performance.now() - start) / 1000
    output.result({
      model: writer.file,
      prompt,
      ...written,
      seconds,
      tokens_per_second: written.tokens / seconds,
    })
  } catch (error) {
    if (!interrupt.requested) throw error
    if (!output.json) output.line()
    throw new Interrupted('')
  }
}
