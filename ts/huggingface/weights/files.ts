/** The tensors of a model's files, which are read file by file, as they are asked for. */
import type { Progress, ReadOptions } from '../../control.js'
import { XTransformersError } from '../../errors.js'
import { MAX_INDEX_BYTES, parseIndex } from '../../io/shards.js'
import { disposeAll, readTensors } from '../../io/tensor-files.js'
import type { Tensor } from '../../tensor/tensor.js'
import { bytesIfThere, ifThere, type ModelFiles } from '../files.js'

/** The names of whole files and of indexes, in the order of transformers. */
const WHOLE = ['model.safetensors', 'pytorch_model.bin']
const INDEXES = ['model.safetensors.index.json', 'pytorch_model.bin.index.json']

const damaged = (message: string) => new XTransformersError('invalid_checkpoint', message)

/** Tells of the bytes of several files as if they were one. */
class Total {
  #before = 0
  #loaded = 0

  constructor(private readonly options: ReadOptions) {}

  /** The options for the next file. */
  next(): ReadOptions {
    this.#before += this.#loaded
    this.#loaded = 0
    const { on_progress, ...others } = this.options
    if (!on_progress) return others
    const tell = ({ loaded }: Progress) => {
      this.#loaded = loaded
      // how many more there are is known at the end alone
      on_progress({ loaded: this.#before + loaded, total: null })
    }
    return { ...others, on_progress: tell }
  }

  end(): void {
    const loaded = this.#before + this.#loaded
    this.options.on_progress?.({ loaded, total: loaded })
  }
}

/** The tensors of a model. Those that were read are kept until they are taken. */
export class WeightFiles {
  readonly #read = new Map<string, Tensor>()
  readonly #done = new Set<string>()

  private constructor(
    private readonly files: ModelFiles,
    private readonly total: Total,
    /** The file of each tensor. */
    private readonly places: Map<string, string>,
  ) {}

  /**
   * Opens the weights among the files of a model: a whole file is read, an index only looked at.
   *
   * @throws XTransformersError (`file`, `invalid_checkpoint`)
   */
  static async open(files: ModelFiles, options: ReadOptions): Promise<WeightFiles> {
    const weights = new WeightFiles(files, new Total(options), new Map())
    for (const [i, whole] of WHOLE.entries()) {
      if (await weights.#load(whole)) return weights
      const index = await bytesIfThere(files, INDEXES[i] as string, options)
      if (index === null) continue
      if (index.length > MAX_INDEX_BYTES) throw damaged(`${INDEXES[i]} is too long for an index`)
      for (const [name, file] of parseIndex(index).files) weights.places.set(name, file)
      return weights
    }
    throw new XTransformersError(
      'file',
      `there are no weights in ${files.name}: looked for ${[...WHOLE, ...INDEXES].join(', ')}`,
    )
  }

  /** The names of all tensors. */
  get names(): IterableIterator<string> {
    return this.places.keys()
  }

  has(name: string): boolean {
    return this.places.has(name)
  }

  /** Reads a file; false where there is none. */
  async #load(file: string): Promise<boolean> {
    if (this.#done.has(file)) return true
    const options = this.total.next()
    const found = await ifThere(this.files, file, options, (source) =>
      readTensors(source, { ...options, widen: true }),
    )
    if (found === null) return false
    this.#done.add(file)
    for (const [name, tensor] of found.tensors) {
      if (this.#read.has(name)) throw damaged(`tensor ${name} is in two of the files`)
      this.#read.set(name, tensor)
      if (!this.places.has(name)) this.places.set(name, file)
    }
    return true
  }

  /** A tensor, which stays here. */
  async look(name: string): Promise<Tensor> {
    const file = this.places.get(name)
    if (file === undefined) throw damaged(`tensor ${name} is missing`)
    if (!this.#read.has(name) && !(await this.#load(file)))
      throw new XTransformersError('file', `there is no ${file}, where the index says ${name} is`)
    const tensor = this.#read.get(name)
    if (tensor) return tensor
    throw damaged(`the index says that tensor ${name} is in ${file}, and it is not there`)
  }

  /** A tensor, which is the caller's from now on. */
  async take(name: string): Promise<Tensor> {
    const tensor = await this.look(name)
    this.#read.delete(name)
    return tensor
  }

  /** All has been taken. */
  end(): void {
    this.total.end()
  }

  /** Frees what was not taken. */
  dispose(): void {
    disposeAll(this.#read)
    this.#read.clear()
  }
}
