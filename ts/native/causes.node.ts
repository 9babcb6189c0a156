// Why an addon was not loaded, for people.
import { platformOf } from './binary.node.js'

/** A try that did not give the addon. */
export interface Failure {
  error: Error
}

const firstLine = ({ message }: Error) => message.split('\n')[0] ?? ''

/** Where Node itself forbids addons: by which of its switches. */
function forbidden({ code }: NodeJS.ErrnoException): string | null {
  if (code !== 'ERR_DLOPEN_DISABLED') return null
  if ('permission' in process && process.permission) {
    return "Node's permission model forbids native addons: --allow-addons allows them"
  }
  return 'native addons are turned off by --no-addons (or NODE_OPTIONS): start Node without it'
}

/** Of the platforms tried, none has an addon. */
const absent = (platforms: readonly string[]) =>
  `there is no native addon for ${platforms.join(' or ')}: install ${platforms.map((name) => `@x-transformers/${name}`).join(' or ')} (npm leaves it out with --omit=optional, and with a lockfile of another platform), build it in the repository with \`npm run build\`, or name a file in the environment variable X_TRANSFORMERS_ADDON; in a bundle, see "Programs bundled for Node" in docs/bundlers.md`

/** Why there is no addon. */
export interface Cause {
  message: string
  /** Whether there is one, which cannot be loaded. */
  broken: boolean
}

/** Why none of the tries gave an addon. */
export function causeOf(failures: readonly Failure[], platforms: readonly string[]): Cause {
  for (const { error } of failures) {
    const message = forbidden(error)
    if (message) return { message, broken: false }
  }
  const found = failures.find(
    ({ error }) => (error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND',
  )
  if (!found) return { message: absent(platforms), broken: false }
  const of = platforms.join(' or ')
  const message = `the native addon for ${of} cannot be loaded: ${firstLine(found.error)}`
  return { message, broken: true }
}

/** All tries, and why each failed, on a line each. */
export const triesOf = (failures: readonly Failure[]): string =>
  failures.map(({ error }) => `\n- ${firstLine(error)}`).join('')

/** Why the file that X_TRANSFORMERS_ADDON names was not loaded. */
export function causeOfChosen(path: string, error: Error, platform: string): string {
  const what = `X_TRANSFORMERS_ADDON names ${path}`
  const cause = forbidden(error)
  if (cause) return `${what}, and ${cause}`
  try {
    const built = platformOf(path)
    if (!built) return `${what}, which is not a native addon`
    if (!platform.startsWith(built))
      return `${what}, which is an addon for ${built}: this is ${platform}`
    return `${what}, which cannot be loaded: ${firstLine(error)}`
  } catch (unread) {
    if ((unread as NodeJS.ErrnoException).code === 'ENOENT') return `${what}: there is no such file`
    return `${what}, which cannot be read: ${firstLine(unread as Error)}`
  }
}
