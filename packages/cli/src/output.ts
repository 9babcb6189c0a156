/** What a command writes: its result to standard output, everything else beside it. */
export class Output {
  /** Whether the result is one line of JSON. */
  readonly json: boolean
  /** Where everything but the JSON goes. */
  readonly stream: NodeJS.WriteStream

  constructor(json = false) {
    this.json = json
    this.stream = json ? process.stderr : process.stdout
  }

  write(text: string): void {
    this.stream.write(text)
  }

  line(text = ''): void {
    this.write(`${text}\n`)
  }

  /** A remark that is no part of the result. */
  note(text: string): void {
    process.stderr.write(`${text}\n`)
  }

  /** The result: as JSON, where that is asked for, else as text. */
  result(value: object, text?: string): void {
    if (this.json) process.stdout.write(`${JSON.stringify(value)}\n`)
    else if (text !== undefined) this.line(text)
  }
}

/** A reader that has gone, such as `head`, is no failure. */
export function forgiveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit()
    })
  }
}
