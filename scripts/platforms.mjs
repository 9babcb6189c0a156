// The platforms of the native addon, by their names in napi-rs's spelling.

/** The oldest glibc that the addons for Linux run with. */
export const GLIBC = '2.28'

/** Most bytes of an addon. */
export const LARGEST = 12e6

// without it, rustc links the C library statically, which an addon cannot have twice
const musl = { flags: '-Ctarget-feature=-crt-static' }

/**
 * The platforms with an addon. `target` is rustc's name where it can be built on Linux on x86-64,
 * with what else that takes. `test/package/platforms.test.ts` compares with
 * ts/native/addons.node.ts.
 */
export const PLATFORMS = {
  'darwin-arm64': {},
  'darwin-x64': {},
  'linux-arm64-gnu': { target: 'aarch64-unknown-linux-gnu', glibc: GLIBC },
  'linux-arm64-musl': { target: 'aarch64-unknown-linux-musl', ...musl },
  'linux-x64-gnu': { target: 'x86_64-unknown-linux-gnu', glibc: GLIBC },
  'linux-x64-musl': { target: 'x86_64-unknown-linux-musl', ...musl },
  'win32-arm64-msvc': {},
  'win32-x64-msvc': {},
}

/**
 * Addons that are not published: they can be built and run on Linux in place of one that cannot.
 */
export const STAND_INS = { 'win32-x64-gnu': { target: 'x86_64-pc-windows-gnu' } }

/** What follows the architecture in a platform's name, as npm calls it. */
export const LIBC = { gnu: 'glibc', musl: 'musl' }

/** The name of this machine's, as in `x-transformers.linux-x64-gnu.node`. */
export function triple() {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  const gnu = Boolean(process.report.getReport().header.glibcVersionRuntime)
  if (arch === 'arm') return `linux-arm-${gnu ? 'gnueabihf' : 'musleabihf'}`
  return `linux-${arch}-${gnu ? 'gnu' : 'musl'}`
}
