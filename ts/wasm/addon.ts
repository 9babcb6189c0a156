import type {
  DType,
  Native,
  NativeAbortFlag,
  NativeReader,
  NativeResult,
  NativeTensor,
} from '../native/native.js'
import { AbortFlag } from './calls.js'
import type { Glue } from './glue.js'
import { Instance } from './instance.js'
import { result, WasmFunctions, WasmReader } from './methods.gen.js'

/**
 * The module as the addon that the façade knows. What is asynchronous in Node waits here for its
 * turn and then computes on the thread that it was called on; an abort is seen before that.
 */
export function wasmNative(glue: Glue): Native {
  return new WasmNative(new Instance(glue))
}

/** A file whose bytes are counted for the tensors that it gives. */
class CountedReader extends WasmReader {
  /** Bytes that its tensors take already. */
  #held = 0

  override feedSync(bytes: Uint8Array): void {
    this.instance.requireMemory(bytes.length, 'reading the file')
    const [, grown] = this.instance.measure((glue) => glue.reader_feed(this.handle, bytes))
    this.#held += grown
  }

  override tensorsSync(): NativeResult {
    return result(this.instance, (glue) => glue.reader_tensors(this.handle), this.#held)
  }
}

class WasmNative extends WasmFunctions implements Native {
  abortFlag(): NativeAbortFlag {
    return new AbortFlag()
  }

  override tensor(
    bytes: Uint8Array,
    source: DType,
    dtype: DType,
    shape: number[],
    device: string,
  ): NativeTensor {
    this.instance.requireMemory(2 * bytes.length, 'the tensor')
    return super.tensor(bytes, source, dtype, shape, device)
  }

  override reader(settings: string): NativeReader {
    const handle = this.instance.run((glue) => glue.reader(settings))
    return new CountedReader(this.instance, handle)
  }
}
