export function tensorboard(): Promise<{ python: string; path: string } | null>
