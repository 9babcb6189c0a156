// Never run: each option of a call may be `undefined`, also with exactOptionalPropertyTypes.
import {
  type AutoregressiveWrapper,
  crossEntropy,
  type LoadResult,
  load,
  loadTensors,
  SGD,
  tensor,
  zeros,
} from 'x-transformers'
import { init } from 'x-transformers/wasm'
import { type HostTensor, type Library, tensor as packed, spawn } from 'x-transformers/worker'

interface Given {
  signal: AbortSignal | undefined
  on_progress: ((progress: { loaded: number; total: number | null }) => void) | undefined
  key: string | undefined
  flag: boolean | undefined
  shape: number[] | undefined
  url: URL | undefined
}

export async function exact(model: AutoregressiveWrapper, given: Given): Promise<LoadResult> {
  const { signal, on_progress, key, flag, shape, url } = given
  await init({ url, bytes: undefined, module: undefined, on_progress })
  const made = { dtype: undefined, device: undefined, requires_grad: flag }
  const x = tensor([1], { shape, ...made }).add(zeros([1], made))
  const loss = crossEntropy(x.sum(0, { keepdim: flag }), [1], { ignore_index: undefined })
  await loss.backward({ retain_graph: flag, signal })
  await model.forward([[1]], { signal, mask: undefined })
  await model.generate([1], 2, {
    signal,
    temperature: undefined,
    seed: undefined,
    eos_token: undefined,
  })
  await load('x', { device: undefined, signal, on_progress })
  await loadTensors('x', { key, signal, on_progress })
  const optimizer = new SGD(model.parameters())
  const { lr, momentum }: { lr: number; momentum: number } = optimizer
    .param_groups[0] as (typeof optimizer.param_groups)[0]
  await optimizer.save('x', { format: lr < momentum ? 'torch' : undefined })
  await optimizer.load('x', { key, signal, on_progress })
  return await model.loadWeights('x', { strict: flag, prefix: key, key, signal, on_progress })
}

export async function exactly({
  signal,
  on_progress,
  flag,
  shape,
  url,
}: Given): Promise<HostTensor> {
  const wasm = { url, bytes: undefined, module: undefined, threads_url: url }
  const x: Library = await spawn({
    threads: undefined,
    wasm,
    worker: undefined,
    signal,
    on_progress,
  })
  const y: Library = await spawn({ wasm: undefined })
  y.terminate()
  const model = new x.Decoder({ dim: 32, depth: 1 })
  await model.loadWeights('x', { transfer: flag, signal, on_progress })
  await x.load('x', { transfer: flag, signal })
  return packed([1], { shape, dtype: undefined })
}
