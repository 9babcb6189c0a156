export interface Workflow {
  path: string
  text: string
}
/** The machines that workflows run on. */
export const RUNNERS: readonly string[]
/** The files of .github/workflows. */
export function workflows(): Workflow[]
/** The faults of some workflows, as lines. */
export function faultsOf(files: readonly Workflow[]): Promise<string[]>
