// The view of a run on a terminal, which Python's pty stands for.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { screen } from '../../scripts/screen.mjs'
import { CLI, SMALL, scratch } from './command.js'

let place: ReturnType<typeof scratch>
beforeAll(() => {
  place = scratch()
})
afterAll(() => place.remove())

/** Runs a program on a terminal of 100 columns, and types when its output has some text. */
const PTY = `
import fcntl, os, pty, select, struct, sys, termios
wait, keys, args = sys.argv[1], sys.argv[2].encode().decode('unicode_escape'), sys.argv[3:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(args[0], args)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
output = b''
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    output += data
    if wait and wait.encode() in output:
        os.write(terminal, keys.encode())
        wait = ''
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(output)
sys.exit(os.waitstatus_to_exitcode(status))
`

function onTerminal(
  args: readonly string[],
  { wait = '', keys = '' } = {},
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TERM: 'xterm-256color' }
    const program = [process.execPath, CLI, ...args]
    const child = spawn('python3', ['-c', PTY, wait, keys, ...program], { env })
    let output = ''
    child.stdout.on('data', (data) => {
      output += data
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

const small = (out: string, steps: string) => [
  ...['train', ...SMALL, 'sample.every=20', 'eval.every=50'],
  ...['--data', place.text, '--out', join(place.folder, out), '--steps', steps],
]

/** The text without what moves the cursor or colours it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const plain = (text: string) => text.replace(/\x1b\[[?\d;]*[a-zA-Z]/g, '')

describe('a run on a terminal', () => {
  it('is drawn again in the same place, with a curve, numbers and a sample', async () => {
    const { code, output } = await onTerminal(small('drawn', '3000'))
    expect(code, output).toBe(0)
    // up to the first line of the picture
    expect(output).toMatch(/\[2\dA/)
    const text = plain(output)
    for (const part of ['█', '┤', 'tokens/s', ' left', 'memory ', 'validation ', 'sample at step'])
      expect(text).toContain(part)
    expect(text).toContain('100 %  step 3,000 of 3,000')
    expect(text).toContain('model.safetensors')
    // the cursor is shown again
    expect(output.lastIndexOf('\x1b[?25h')).toBeGreaterThan(output.lastIndexOf('\x1b[?25l'))
  })

  it('leaves one whole picture, whatever was drawn before', async () => {
    const { output } = await onTerminal(small('whole', '1500'))
    const rows = screen(output, 100).map((cells) =>
      Array.from(cells, (cell) => cell?.text ?? ' ')
        .join('')
        .trimEnd(),
    )
    const top = rows.indexOf(join(place.folder, 'whole'))
    expect(rows.slice(top, top + 7)).toEqual([
      rows[top],
      expect.stringMatching(/^█{40} 100 % {2}step 1,500 of 1,500/),
      expect.stringMatching(/^loss \d\.\d{3} {2}validation \d/),
      expect.stringMatching(/tokens\/s {2}rate .* memory /),
      '',
      expect.stringMatching(/^loss: training/),
      expect.stringMatching(/\d [┤┼]/),
    ])
    const sample = rows.indexOf('sample at step 1,500')
    expect(rows.slice(top + 6, sample - 1).filter((row) => !/[┤┼]/.test(row))).toEqual([])
    expect(rows.filter((row) => row.includes('tokens/s'))).toHaveLength(1)
  })

  it('ends after a step where Ctrl-C is typed, and says so', async () => {
    const { code, output } = await onTerminal(small('typed', '1000000'), {
      wait: 'tokens/s',
      keys: '\\x03',
    })
    expect(code).toBe(130)
    const text = plain(output)
    expect(text).toContain('ending after this step')
    expect(text).toMatch(/Stopped at step \d+/)
    expect(output.lastIndexOf('\x1b[?25h')).toBeGreaterThan(output.lastIndexOf('\x1b[?25l'))
  })

  it('is lines of text where standard error is no terminal', async () => {
    const { code, output } = await onTerminal([...small('json', '30'), '--json'])
    expect(code).toBe(0)
    expect(plain(output)).toContain('{"steps":30,')
  })
})

describe('chat on a terminal', () => {
  it('shows a prompt, and ends with Ctrl-D', async () => {
    const run = join(place.folder, 'drawn')
    const { code, output } = await onTerminal(['chat', run, '--tokens', '5'], {
      wait: '> ',
      keys: 'Call me\\n\\x04',
    })
    expect(code, output).toBe(0)
    expect(plain(output)).toContain('/help has the commands')
    expect(plain(output)).toContain('Call me')
  })
})
