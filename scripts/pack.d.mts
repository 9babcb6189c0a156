export interface Tarball {
  name: string
  /** Path of the .tgz. */
  file: string
  size: number
  unpackedSize: number
}
export function pack(into: string): Promise<Tarball[]>
export function wasmSizes(
  quality?: number,
): Promise<{ name: string; size: number; brotli: number; fits: boolean }[]>
