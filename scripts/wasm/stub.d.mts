export function writeStub(folder?: string): void
export function isStub(folder?: string): boolean
