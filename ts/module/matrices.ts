/**
 * Which parameters are hidden matrices, by name and shape: nothing here may need the native side.
 */

/**
 * Parts of names of what is looked up or added rather than multiplied (embeddings, positions,
 * memory tokens), and of the first and last layers of models: of this package, and as others call
 * them.
 */
const NOT_HIDDEN =
  /emb|logits|^(.+_)?heads?$|^(.+_)?pos(ition)?(_.*)?$|^(memory_tokens|project_in|project_out|wte|wpe)$/i

/** Whether a parameter is a matrix between the layers of a model. */
export function isHiddenMatrix(name: string, shape: readonly number[]): boolean {
  return (
    shape.length === 2 &&
    shape.every((length) => length > 1) &&
    !name.split('.').some((part) => NOT_HIDDEN.test(part))
  )
}

/** Parameters of a model that one of the two rules of Muon steps. */
export interface MuonGroup<Parameter> {
  params: Parameter[]
  /** Whether that is Muon; else AdamW. */
  use_muon: boolean
}

/** The groups of named parameters for Muon: hidden matrices, and all others. */
export function muonGroups<Parameter>(
  parameters: Iterable<readonly [name: string, parameter: Parameter]>,
  shapeOf: (parameter: Parameter) => readonly number[],
  isTable: (parameter: Parameter) => boolean = () => false,
): [matrices: MuonGroup<Parameter>, others: MuonGroup<Parameter>] {
  const groups = [true, false].map((use_muon): MuonGroup<Parameter> => ({ params: [], use_muon }))
  const [matrices, others] = groups as [MuonGroup<Parameter>, MuonGroup<Parameter>]
  for (const [name, parameter] of parameters) {
    const isMatrix = !isTable(parameter) && isHiddenMatrix(name, shapeOf(parameter))
    const { params } = isMatrix ? matrices : others
    params.push(parameter)
  }
  return [matrices, others]
}
