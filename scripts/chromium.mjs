// A Chromium for the tests: the one that CHROMIUM names, an installed one, Playwright's own, or, on
// Debian as root, one from its packages.
import { existsSync } from 'node:fs'
import { Failure, onPath, run, say } from './lib.mjs'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
const MAC = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'

/**
 * Flags for a browser that sees local pages only; it may run as root in a container, where its
 * sandbox cannot.
 */
export const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

async function installed() {
  if (process.env.CHROMIUM) {
    if (existsSync(process.env.CHROMIUM)) return process.env.CHROMIUM
    throw new Failure(`CHROMIUM names ${process.env.CHROMIUM}, which does not exist.`)
  }
  const own = NAMES.map(onPath).find(Boolean) ?? (existsSync(MAC) ? MAC : null)
  if (own) return own
  const { chromium } = await import('playwright-core')
  const path = chromium.executablePath()
  return existsSync(path) ? path : null
}

/** Installs Debian's package; says so before. */
async function install() {
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !onPath('apt-get')) return
  say(
    "Installing Chromium from Debian's packages (to use another one, set CHROMIUM to its path) ...",
  )
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update', '-qq'], { env })
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], { env })
}

/** Path of a Chromium; installs one where that is possible. */
export async function ensureChromium() {
  let found = await installed()
  if (!found) {
    await install()
    found = await installed()
  }
  if (found) return found
  throw new Failure(
    'The browser tests need Chromium, and none was found.\nInstall one (`npx playwright install chromium`, or `apt-get install chromium`), or set CHROMIUM to the path of one, and run this again.',
  )
}
