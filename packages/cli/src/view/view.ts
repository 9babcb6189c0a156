import type { TrainEvent } from 'x-transformers/train'
import type { Output } from '../output.js'
import { LineView } from './lines.js'
import { ScreenView } from './screen.js'
import type { RunState } from './state.js'

/** What a user sees of a run. */
export interface View {
  hear(event: TrainEvent): void
  /** Says something beside the run. */
  note(text: string): void
  /** At the end, also after an error; may be called again. */
  stop(): void
}

/** Whether a stream can be drawn on again and again. */
const isTerminal = ({ isTTY }: NodeJS.WriteStream) => isTTY && process.env.TERM !== 'dumb'

export const makeView = (output: Output, state: RunState, title: string): View =>
  isTerminal(output.stream)
    ? new ScreenView(output.stream, state, title)
    : new LineView(output, state)
