/** Takes what was thrown where an addon could not be loaded. */
export type Fail = (error: unknown) => void

/**
 * The addon of each platform: first the one that was built in the repository, then the platform's
 * package. The names are literal, and each `require` stands in a `try` of its own: so tracers and
 * bundlers find what is there and bear what is not. Only the function of the own platform is
 * called. Paths are the same from here and from dist/cjs.
 */
export const ADDONS: Record<string, (fail: Fail) => unknown> = {
  'darwin-arm64': (fail) => {
    try {
      return require('../../x-transformers.darwin-arm64.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/darwin-arm64')
    } catch (error) {
      fail(error)
    }
  },
  'darwin-x64': (fail) => {
    try {
      return require('../../x-transformers.darwin-x64.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/darwin-x64')
    } catch (error) {
      fail(error)
    }
  },
  'linux-arm64-gnu': (fail) => {
    try {
      return require('../../x-transformers.linux-arm64-gnu.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/linux-arm64-gnu')
    } catch (error) {
      fail(error)
    }
  },
  'linux-arm64-musl': (fail) => {
    try {
      return require('../../x-transformers.linux-arm64-musl.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/linux-arm64-musl')
    } catch (error) {
      fail(error)
    }
  },
  'linux-x64-gnu': (fail) => {
    try {
      return require('../../x-transformers.linux-x64-gnu.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/linux-x64-gnu')
    } catch (error) {
      fail(error)
    }
  },
  'linux-x64-musl': (fail) => {
    try {
      return require('../../x-transformers.linux-x64-musl.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/linux-x64-musl')
    } catch (error) {
      fail(error)
    }
  },
  'win32-arm64-msvc': (fail) => {
    try {
      return require('../../x-transformers.win32-arm64-msvc.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/win32-arm64-msvc')
    } catch (error) {
      fail(error)
    }
  },
  'win32-x64-msvc': (fail) => {
    try {
      return require('../../x-transformers.win32-x64-msvc.node')
    } catch (error) {
      fail(error)
    }
    try {
      return require('@x-transformers/win32-x64-msvc')
    } catch (error) {
      fail(error)
    }
  },
}
