export function pythonPath(): string | null
