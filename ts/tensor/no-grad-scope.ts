/**
 * A `noGrad` that runs, or whose promise is pending. What comes of it keeps no graph until then.
 */
export interface NoGradScope {
  active: boolean
}
