import { checkNamed } from '../io/named.js'
import { saveWeights, saveWeightsSync, type Target, toBlob } from '../io/sources.js'
import {
  type SyncTensorSource,
  type TensorSource,
  writeTensorBytes,
  writeTensorBytesSync,
} from '../io/tensor-files.js'
import { GATES } from '../symbols.js'
import type { Device } from '../tensor/device.js'
import type { Gates } from '../tensor/schedule.js'
import type { Tensor } from '../tensor/tensor.js'
import { distinct, type Entry, type StateDict } from './entries.js'
import { setRequiresGrad } from './freezing.js'
import { type LoadWeightsOptions, loadState, loadWeights, loadWeightsSync } from './loading.js'
import { type MuonGroup, muonGroups } from './matrices.js'
import { countWeights, parametersOf, tablesOf } from './parameters.js'
import type { NamePattern } from './patterns.js'
import type { LoadResult, LoadStateOptions } from './state.js'
import {
  ASSIGN,
  CHANGE_LORA,
  CHECK_MERGE,
  ENTRIES,
  LORA_LAYERS,
  type LoRAChange,
  type LoRALayers,
  METADATA,
  type Quantization,
  RECORD,
  RECORDED,
  type Recorded,
} from './submodule.js'

/** What every `Module` does with its weights: names, values, files. */
export abstract class ModuleWeights {
  abstract readonly quantization: Quantization | null
  abstract train(on?: boolean): this
  abstract to(device: Device): this
  abstract quantize(format: Quantization): this
  abstract dispose(): void
  /** @internal */
  abstract [ENTRIES](): Entry[]
  /** @internal */
  abstract [METADATA](): Record<string, string>
  /** @internal */
  abstract [GATES](): Gates
  /** @internal */
  abstract [ASSIGN](state: StateDict): void
  /** @internal */
  abstract [LORA_LAYERS](): LoRALayers[]
  /** @internal */
  abstract [CHECK_MERGE](modules: readonly string[]): void
  /** @internal */
  abstract [CHANGE_LORA](change: LoRAChange): void
  /** @internal */
  abstract [RECORD](on: boolean): void
  /** @internal */
  abstract [RECORDED](): Promise<Recorded>

  /**
   * The parameters, each once, in the order of the state dict; the same objects on every call.
   * Draws initial values.
   */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()]
  }

  /** The parameters by name, each once. */
  namedParameters(): Map<string, Tensor> {
    return parametersOf(this[ENTRIES]())
  }

  /**
   * The parameters in two groups for `Muon`: matrices between the layers, which Muon steps, and all
   * others, which AdamW steps (`use_muon: false`): embeddings, positions, memory tokens, the layers
   * at the input and the output, norms, biases.
   *
   * Matrices are told by shape and name. In a model of your own, the weights of an `Embedding`, and
   * what has a part like `embedding`, `pos`, `head`, `logits`, `wte` in its name, are none of them;
   * for other names, give `Muon` groups of your own.
   *
   * @example
   * const optimizer = new Muon(model.muonParameters(), { lr: 0.02 })
   * // or with a rate for each
   * const [matrices, others] = model.muonParameters()
   * new Muon([{ ...matrices, lr: 0.02 }, { ...others, lr: 1e-3 }])
   */
  muonParameters(): [matrices: MuonGroup<Tensor>, others: MuonGroup<Tensor>] {
    const tables = tablesOf(this[ENTRIES]())
    return muonGroups(
      this.namedParameters(),
      ({ shape }) => shape,
      (parameter) => tables.has(parameter),
    )
  }

  /**
   * Every parameter and persistent buffer by its name in the Python package. The tensors are the
   * model's own: they follow the training.
   */
  stateDict(): Map<string, Tensor> {
    return new Map(distinct(this[ENTRIES]()).map(({ name, source }) => [name, source.tensor()]))
  }

  /**
   * Copies values into the parameters and buffers, by name; values of other types are converted.
   *
   * @returns what was missing, unexpected or of another shape, and which prefix was taken off the
   *   names
   * @throws XTransformersError (`invalid_checkpoint`) where names or shapes do not fit; (`busy`)
   *   while a call on the model is pending
   */
  loadStateDict(
    state: StateDict | Readonly<Record<string, Tensor>>,
    options: LoadStateOptions = {},
  ): LoadResult {
    return loadState(this, state, options)
  }

  /**
   * Reads a file into the parameters and buffers: safetensors (also in several files, by their
   * index) or what `torch.save` has made of a state dict; see {@link loadTensors}. Calls that
   * follow wait for it.
   *
   * All or nothing: an error or an abort changes nothing. So all values are read into new tensors
   * first, and take the place of the old ones at the end: at its peak there is memory for the old
   * weights and the new.
   *
   * @returns as {@link loadStateDict}
   * @throws XTransformersError (`file`, `invalid_checkpoint`, `out_of_memory`)
   * @example
   * const { missing } = await model.loadWeights('pytorch_model.bin', { strict: false })
   */
  async loadWeights(source: TensorSource, given: LoadWeightsOptions = {}): Promise<LoadResult> {
    return await loadWeights(this, source, given)
  }

  /** As {@link loadWeights}, at once: of paths (Node) or of bytes. */
  loadWeightsSync(
    source: SyncTensorSource,
    given: Omit<LoadWeightsOptions, 'signal' | 'on_progress'> = {},
  ): LoadResult {
    return loadWeightsSync(this, source, given)
  }

  /**
   * Freezes the parameters whose names fit a pattern: they get no gradient, and optimizers pass
   * over them, until {@link unfreeze}. In a text, `*` stands for any characters and `?` for one; a
   * RegExp is looked for in the names. A parameter with several names is meant by each.
   *
   * @returns the names of those that were not frozen before
   * @throws XTransformersError (`invalid_argument`) where no name fits; (`busy`) while a call on
   *   the model is pending
   * @example
   * model.freeze('net.token_emb.*')
   * model.freeze(/attn_layers\.layers\.[0-3]\./)
   */
  freeze(pattern: NamePattern = '*'): string[] {
    return setRequiresGrad(this, pattern, false)
  }

  /** Thaws parameters by their names, as {@link freeze} freezes them. */
  unfreeze(pattern: NamePattern = '*'): string[] {
    return setRequiresGrad(this, pattern, true)
  }

  /** Number of single weights, each counted once. Draws no values. */
  get numParameters(): number {
    return countWeights(this[ENTRIES]())
  }

  /**
   * Writes the weights as safetensors, which in Python `safetensors.torch.load_file` reads; a name
   * that PyTorch's files have (`.pt`, `.pth`) is refused (`invalid_argument`). The
   * weights are those of now: later steps wait until they are read.
   *
   * @param target a path (Node), `opfs:folder/name` (browser), a handle of a file or a stream: see
   *   {@link Target}
   * @throws XTransformersError (`file`); what is in the file then, {@link Target} says
   */
  async save(target: Target): Promise<void> {
    await saveWeights(target, () => this.saveBytes())
  }

  /** As {@link save}, at once: to a path (Node). */
  saveSync(path: string): void {
    saveWeightsSync(path, () => this.saveBytesSync())
  }

  /** The weights as a safetensors file in a Blob, such as for a download. */
  async saveBlob(): Promise<Blob> {
    return toBlob(await this.saveBytes())
  }

  /** The weights as the bytes of a safetensors file. */
  async saveBytes(): Promise<Uint8Array> {
    return await writeTensorBytes(checkNamed(this.stateDict()), this[METADATA]())
  }

  /** As {@link saveBytes}, at once. */
  saveBytesSync(): Uint8Array {
    return writeTensorBytesSync(checkNamed(this.stateDict()), this[METADATA]())
  }
}
