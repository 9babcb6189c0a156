// The platforms of the native addon, by their names in napi-rs's spelling.

/** What ts/native/addons.node.ts looks for: `test/package/platforms.test.ts` compares both. */
export const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'freebsd-x64',
  'linux-arm-gnueabihf',
  'linux-arm-musleabihf',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
]

/** What follows the architecture in a platform's name, as npm calls it. */
export const LIBC = { gnu: 'glibc', gnueabihf: 'glibc', musl: 'musl', musleabihf: 'musl' }

/** The name of this machine's, as in `x-transformers.linux-x64-gnu.node`. */
export function triple() {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  const gnu = Boolean(process.report.getReport().header.glibcVersionRuntime)
  if (arch === 'arm') return `linux-arm-${gnu ? 'gnueabihf' : 'musleabihf'}`
  return `linux-${arch}-${gnu ? 'gnu' : 'musl'}`
}
