export function npm(
  args: string[],
  options?: { cwd?: string; stdout?: 'stderr' | 'capture' | 'tee'; env?: Record<string, string> },
): Promise<{ code: number; out: string }>
