/** The files, besides package.json, in which the version stands. */
export const FILES_WITH_VERSION: readonly string[]
/** The versions in the text of a file, by what has them. */
export function versionsIn(file: string, text: string): [name: string, version: string][]
/** The text of a file with another version. */
export function withVersion(file: string, text: string, version: string): string
/** A changelog whose preface stands below its title again. */
export function withPreface(changelog: string): string
