// Reads the fixtures without the library under test: 8 bytes with the length of the header, the
// header (JSON), the data.

export type Values = Float32Array | Float64Array | BigInt64Array | Uint8Array

export interface Stored {
  shape: number[]
  data: Values
}

interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

const ARRAYS: Record<string, (buffer: ArrayBuffer) => Values> = {
  F32: (buffer) => new Float32Array(buffer),
  F64: (buffer) => new Float64Array(buffer),
  I64: (buffer) => new BigInt64Array(buffer),
  U8: (buffer) => new Uint8Array(buffer),
  BOOL: (buffer) => new Uint8Array(buffer),
}

export function readSafetensors(bytes: Uint8Array): Map<string, Stored> {
  // A copy at offset 0 of its buffer, as typed arrays need aligned data.
  const slice = (from: number, to: number) => new Uint8Array(bytes.subarray(from, to)).buffer
  const start = 8 + Number(new DataView(slice(0, 8)).getBigUint64(0, true))
  const header: Record<string, Entry> = JSON.parse(new TextDecoder().decode(slice(8, start)))
  const tensors = new Map<string, Stored>()
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const array = ARRAYS[dtype]
    if (!array) throw new Error(`${name} has the dtype ${dtype}, which no fixture uses`)
    tensors.set(name, {
      shape,
      data: array(slice(start + data_offsets[0], start + data_offsets[1])),
    })
  }
  return tensors
}

/** The tensors whose name starts with `prefix`, without it. */
export function part(tensors: Map<string, Stored>, prefix: string): Map<string, Stored> {
  const found = [...tensors].filter(([name]) => name.startsWith(prefix))
  return new Map(found.map(([name, tensor]) => [name.slice(prefix.length), tensor]))
}
