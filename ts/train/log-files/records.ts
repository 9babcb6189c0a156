/**
 * The records of TensorBoard's event files: messages of protocol buffers, each in a frame of its
 * length and checksums.
 *
 * Source: TFRecord, <https://www.tensorflow.org/tutorials/load_data/tfrecord>; the encoding of
 * protocol buffers, <https://protobuf.dev/programming-guides/encoding>; `event.proto` and
 * `summary.proto` of TensorBoard.
 */
import { joined } from '../../io/joined.js'
import { crc32c } from './crc32c.js'

/** How a value is written, the low bits of a field's key. */
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  // a step may have more than 32 bits
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0))
    if (rest < 128) return Uint8Array.from(bytes)
  }
}

function little(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size)
  write(new DataView(bytes.buffer))
  return bytes
}

const field = (number: number, kind: number, content: Uint8Array) =>
  joined([varint(number * 8 + kind), content])

/** A whole number from 0 on; 0 is what a field has that is not there. */
const int = (number: number, value: number) =>
  value === 0 ? new Uint8Array() : field(number, VARINT, varint(value))
const double = (number: number, value: number) =>
  field(
    number,
    FIXED64,
    little(8, (view) => view.setFloat64(0, value, true)),
  )
const float = (number: number, value: number) =>
  field(
    number,
    FIXED32,
    little(4, (view) => view.setFloat32(0, value, true)),
  )
const bytes = (number: number, value: Uint8Array) =>
  field(number, BYTES, joined([varint(value.length), value]))
const text = (number: number, value: string) => bytes(number, new TextEncoder().encode(value))
const message = (number: number, ...fields: Uint8Array[]) => bytes(number, joined(fields))

/** A value of a summary: `Summary.Value`. */
export const scalar = (tag: string, value: number): Uint8Array =>
  message(1, text(1, tag), float(2, value))

const [DT_STRING, DATA_CLASS_TENSOR] = [7, 2]

/** The same with a text, which TensorBoard shows as Markdown. */
export const textValue = (tag: string, value: string): Uint8Array =>
  message(
    1,
    text(1, tag),
    message(8, int(1, DT_STRING), message(2, message(2, int(1, 1))), text(8, value)),
    message(9, message(1, text(1, 'text')), int(4, DATA_CLASS_TENSOR)),
  )

/** When something happened: seconds since 1970, and the step. */
export interface Moment {
  seconds: number
  step: number
}

const event = ({ seconds, step }: Moment, ...fields: Uint8Array[]) =>
  record(joined([double(1, seconds), int(2, step), ...fields]))

/** The first record of a file. */
export const versionRecord = (moment: Moment) => event(moment, text(3, 'brain.Event:2'))

/** Values at a step. */
export const summaryRecord = (moment: Moment, values: readonly Uint8Array[]) =>
  event(moment, message(5, ...values))

/** What earlier files have of this step and later ones counts no more: `SessionLog.START`. */
export const startRecord = (moment: Moment) => event(moment, message(7, int(1, 1)))

/** A checksum in a form whose own checksum is no trivial one. */
const masked = (crc: number) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0

/** Bytes in a frame: length, its checksum, the bytes, their checksum. */
export function record(content: Uint8Array): Uint8Array {
  const length = little(8, (view) => view.setUint32(0, content.length, true))
  const checksum = (of: Uint8Array) =>
    little(4, (view) => view.setUint32(0, masked(crc32c(of)), true))
  return joined([length, checksum(length), content, checksum(content)])
}
