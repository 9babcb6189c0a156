import { createInterface, type Interface } from 'node:readline/promises'
import type { ChatSettings } from '../commands/chat.js'
import { UsageError } from '../errors.js'
import { applyRuntime } from '../runtime.js'
import { openWriter } from './open.js'
import { type Writer, writeText } from './write.js'

const HELP = `/reset            forgets what was said
/temperature N    lower is safer, higher is bolder
/tokens N         the most tokens of an answer
/exit             ends, as Ctrl-D does`

type Session = Writer & {
  settings: ChatSettings
  /** All that was said, as the model reads it. */
  history: string
}

/** Reads lines, and lets the model go on: `x-transformers chat`. */
export async function chat(path: string, settings: ChatSettings): Promise<void> {
  if (!settings.template.includes('{line}'))
    throw new UsageError('--template must have {line}, where the line stands that was typed')
  applyRuntime(settings)
  const opened = await openWriter(path)
  const session: Session = { ...opened, settings: { ...settings }, history: '' }
  const terminal = process.stdin.isTTY && process.stdout.isTTY
  // Node's own: it edits lines, keeps their history, and reads a pipe as well
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal,
    prompt: terminal ? '> ' : '',
  })
  if (terminal) process.stdout.write(`${opened.name}: /help has the commands\n`)
  await converse(lines, session)
}

async function converse(lines: Interface, session: Session): Promise<void> {
  let answering: AbortController | null = null
  // a prompt would open them again
  let open = true
  lines.once('close', () => {
    open = false
  })
  lines.on('SIGINT', () => (answering ? answering.abort() : lines.close()))
  lines.prompt()
  for await (const line of lines) {
    if (line.startsWith('/')) {
      if (command(line, session)) break
    } else {
      answering = new AbortController()
      await answer(line, session, answering.signal)
      answering = null
    }
    if (open) lines.prompt()
  }
  lines.close()
}

/** Runs a command; whether it is the last one. */
function command(line: string, session: Session): boolean {
  const [name, value] = line.trim().split(/\s+/)
  const number = Number(value)
  const say = (text: string) => process.stdout.write(`${text}\n`)
  if (name === '/exit' || name === '/quit') return true
  if (name === '/reset') {
    session.history = ''
    say('forgotten')
  } else if (name === '/temperature' && value !== undefined && number >= 0) {
    session.settings.temperature = number
  } else if (name === '/tokens' && Number.isSafeInteger(number) && number > 0) {
    session.settings.tokens = number
  } else say(HELP)
  return false
}

async function answer(line: string, session: Session, signal: AbortSignal): Promise<void> {
  const { settings, history } = session
  const turn = settings.template.replaceAll('\\n', '\n').replace('{line}', () => line)
  const prompt = settings.forget ? turn : history + turn
  let text = ''
  const say = (piece: string) => {
    text += piece
    process.stdout.write(piece)
  }
  try {
    await writeText(session, { ...settings, prompt, signal }, say)
  } catch (error) {
    if (!signal.aborted) {
      // what cannot be encoded is no reason to end, and no part of what was said
      process.stdout.write(`(${(error as Error).message})\n`)
      return
    }
  }
  process.stdout.write('\n')
  session.history = `${prompt}${text}\n`
}
