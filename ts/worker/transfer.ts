/** What both sides do to hand memory over. */
import type { TypedArray } from '../data.js'
import type { Wire } from './protocol.js'

/** Something packed, and the memory that is given away with it. */
export interface Packed<T = Wire> {
  value: T
  transfer: object[]
}

/** The same values in memory that can be given away. */
export function ownMemory<T extends TypedArray>(data: T): T {
  const { buffer, byteLength } = data
  // others may have a part of it, or all (threads)
  const shared = buffer.byteLength !== byteLength || !(buffer instanceof ArrayBuffer)
  return shared ? (data.slice() as T) : data
}

/** Whether it is an object as `{ }` makes one, and not of a class. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
