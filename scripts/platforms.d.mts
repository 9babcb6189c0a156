export const PLATFORMS: Readonly<Record<string, object>>
/** C libraries as npm names them, by the end of a platform's name. */
export const LIBC: Readonly<Record<string, string>>
/** The name of this machine's platform. */
export function triple(): string
