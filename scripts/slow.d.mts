export const withSlow: boolean
export const SLOW_IN_CHROMIUM: string[]
export function slowFiles(project: 'node' | 'browser'): string[]
