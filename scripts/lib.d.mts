export function npm(
  args: string[],
  options?: { cwd?: string; stdout?: 'stderr' | 'capture' | 'tee'; env?: Record<string, string> },
): Promise<{ code: number; out: string }>
/** The file of a package's command, to be run by Node. */
export function bin(name: string, command?: string): string
