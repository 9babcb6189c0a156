/** Colours, light and dark. */

type Mode = 'light' | 'dark'

const listeners: (() => void)[] = []

const system = matchMedia('(prefers-color-scheme: dark)')

const mode = (): Mode =>
  (document.documentElement.dataset.theme as Mode | undefined) ??
  (system.matches ? 'dark' : 'light')

/** Calls it now and each time that the colours change. */
export function withTheme(draw: () => void): void {
  listeners.push(draw)
  draw()
}

function apply(next: Mode): void {
  document.documentElement.dataset.theme = next
  for (const draw of listeners) draw()
}

export function startTheme(): void {
  document.documentElement.dataset.theme = mode()
  system.addEventListener('change', () => apply(system.matches ? 'dark' : 'light'))
}

export const toggleTheme = (): void => apply(mode() === 'dark' ? 'light' : 'dark')

/** A colour of the style sheet. */
export const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

/** Colours of runs and layers that can be told apart, also by people who see fewer of them. */
const PALETTE: Record<Mode, readonly string[]> = {
  light: ['#2563eb', '#d9480f', '#0f9d76', '#9333ea', '#b7791f', '#c2255c', '#0891b2', '#4d5562'],
  dark: ['#6ea8fe', '#ff9457', '#3ddba8', '#c792ff', '#f2c14e', '#ff7aa8', '#4fd1e8', '#aab4c2'],
}

export function runColour(index: number): string {
  const palette = PALETTE[mode()]
  return palette[index % palette.length] as string
}

/** A colour with transparency. */
export const faint = (hex: string, alpha: number): string =>
  hex +
  Math.round(alpha * 255)
    .toString(16)
    .padStart(2, '0')

/** From low to high: viridis, by Nathaniel Smith and Stéfan van der Walt (CC0), at nine places. */
const VIRIDIS = [
  ...[0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725],
].map((value): [number, number, number] => [value >> 16, (value >> 8) & 255, value & 255])

/** The colour of a share from 0 to 1, as red, green and blue. */
export function heat(share: number): [number, number, number] {
  const at = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1)
  const low = Math.min(VIRIDIS.length - 2, Math.floor(at))
  const [from, to] = [VIRIDIS[low], VIRIDIS[low + 1]] as [number[], number[]]
  const mixed = from.map((value, i) => value + (at - low) * ((to[i] as number) - value))
  return mixed.map(Math.round) as [number, number, number]
}
