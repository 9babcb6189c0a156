/** Each byte of UTF-8 is a token. */
export const TOKENS = 256

export const encode = (text: string): number[] => [...new TextEncoder().encode(text)]

/** Rows that start at random places; each token is the target of the one before it. */
export function randomRows(tokens: number[], rows: number, length: number): number[][] {
  return Array.from({ length: rows }, () => {
    const start = Math.floor(Math.random() * (tokens.length - length))
    return tokens.slice(start, start + length + 1)
  })
}
