/** What both sides do to hand memory over. */
import { isShared, type TypedArray } from '../tensor/data.js'
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
  const shared = buffer.byteLength !== byteLength || isShared(buffer)
  return shared ? (data.slice() as T) : data
}
