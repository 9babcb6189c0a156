/** What speaks against a release. */
export function objections(release: {
  version: string
  tag: string | null
  changelog: string
  addons: { name: string; size: number }[]
  hasThreads: boolean
}): string[]
/** The order in which tarballs are published, of which the package is the first. */
export function inOrder<T>(tarballs: readonly T[]): T[]
/** How npm publishes a file. */
export function publishArguments(
  file: string,
  version: string,
  options: { dry: boolean; inWorkflow: boolean },
): string[]
