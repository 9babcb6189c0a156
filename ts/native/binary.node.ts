import { closeSync, openSync, readSync } from 'node:fs'

/** e_machine of ELF, in Node's spelling. */
const ELF: Record<number, string> = {
  3: 'ia32',
  40: 'arm',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
}
/** The machine of a PE header. */
const PE: Record<number, string> = { 332: 'ia32', 34404: 'x64', 43620: 'arm64' }
/** The cputype of Mach-O. */
const MACH: Record<number, string> = { 16777223: 'x64', 16777228: 'arm64' }

function head(path: string): DataView {
  const descriptor = openSync(path, 'r')
  try {
    const bytes = new Uint8Array(4096)
    readSync(descriptor, bytes, 0, bytes.length, 0)
    return new DataView(bytes.buffer)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * The platform that a native library is for, such as `linux-x64`; null where the file is no such
 * library.
 */
export function platformOf(path: string): string | null {
  const view = head(path)
  const magic = view.getUint32(0)
  if (magic === 0x7f454c46) return `linux-${ELF[view.getUint16(18, true)] ?? 'other'}`
  if (magic === 0xcffaedfe) return `darwin-${MACH[view.getUint32(4, true)] ?? 'other'}`
  if (magic === 0xcafebabe) return 'darwin'
  if (magic >>> 16 !== 0x4d5a) return null
  const at = view.getUint32(60, true)
  if (at > view.byteLength - 6 || view.getUint32(at) !== 0x50450000) return null
  return `win32-${PE[view.getUint16(at + 4, true)] ?? 'other'}`
}
