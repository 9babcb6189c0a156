import { type AutoregressiveWrapper, load } from 'x-transformers'

let loading: Promise<AutoregressiveWrapper> | undefined

/** The model, which the first request loads. */
export function model(): Promise<AutoregressiveWrapper> {
  loading ??= load<AutoregressiveWrapper>('model.safetensors').then((loaded) => loaded.eval())
  return loading
}
