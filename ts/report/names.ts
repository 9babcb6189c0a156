/** The folder of a file, by which runs are told apart; undefined where its path names none. */
export function folderName(path: unknown): string | undefined {
  if (typeof path !== 'string') return undefined
  const folder = path.split(/[/\\]/).at(-2)
  const name = folder?.replace(/^(opfs|[a-z]):/i, '')
  return name === '' || name === '.' || name === '..' ? undefined : name
}
