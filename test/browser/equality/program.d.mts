type Named<T> = Record<string, T>

/** What {@link program} has drawn and computed, by kind and name. */
export interface Results {
  /** What computed it. */
  target: 'native' | 'wasm'
  draws: { bits: Named<number[]>; normals: Named<number[]> }
  /** Model, then parameter. */
  weights: Named<Named<number[]>>
  /** 1 for what was kept. */
  masks: Named<number[]>
  losses: Named<{ losses: number[]; norms: number[] }>
  tokens: Named<number[]>
  vectors: number[]
}

export function program(): Promise<Results>
