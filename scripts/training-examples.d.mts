/** The names of the examples that train. */
export const TRAINING_EXAMPLES: readonly string[]
/** The compiled program of an example. */
export function exampleProgram(name: string): string
