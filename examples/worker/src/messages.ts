/** What the main thread hands over when it starts the worker. */
export interface Task {
  text: string
  file: string
  seconds: number
}

/** From the worker: a step, or the end, after which the file is there. */
export type Message = { step: number; loss: number } | { saved: string }

/** To the worker: ends the training early. */
export const STOP = 'stop'

/** Each byte of UTF-8 is a token. */
export const TOKENS = 256

export const encode = (text: string): number[] => [...new TextEncoder().encode(text)]
