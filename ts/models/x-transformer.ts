import type { CallControl } from '../control.js'
import type { Ids } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import { Generative, type Score } from './generative.js'
import type {
  XTransformerCall,
  XTransformerGenerate,
  XTransformerOptions,
  XTransformerScore,
  XTransformerStream,
} from './options.gen.js'
import { ids } from './signatures.js'

const SIGNATURES = {
  forward: ids('src', 'tgt'),
  generate: ids('seq_in', 'seq_out_start'),
  stream: ids('seq_in', 'seq_out_start'),
  score: ids('src', 'tgt'),
}

/**
 * An encoder and a decoder over tokens; the options of the encoder start with `enc_`, those of the
 * decoder with `dec_`.
 *
 * @example
 * const model = new XTransformer({
 *   dim: 512,
 *   enc_num_tokens: 256, enc_depth: 6, enc_heads: 8, enc_max_seq_len: 1024,
 *   dec_num_tokens: 256, dec_depth: 6, dec_heads: 8, dec_max_seq_len: 1024,
 * })
 * const loss = await model.forward(src, tgt, { mask })
 */
export class XTransformer extends Generative<XTransformerOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(options: XTransformerOptions) {
    super('XTransformer', options, SIGNATURES)
  }

  /**
   * The mean loss, one element, of predicting the target, (batch, target length), from the source,
   * (batch, source length). `return_logits`: the logits of the target in its place, (batch, target
   * length, dec_num_tokens).
   */
  override forward(src: Ids, tgt: Ids, options?: XTransformerCall & CallControl): Promise<Tensor> {
    return this.call('forward', [src, tgt], options)
  }

  /** As `forward`, at once. */
  forwardSync(src: Ids, tgt: Ids, options?: XTransformerCall): Tensor {
    return this.callSync('forward', [src, tgt], options)
  }

  /**
   * Writes on behind `seq_out_start`, (batch, length), for the source `seq_in`: `seq_len` new
   * tokens, (batch, new); with `num_return_sequences` of k, (batch * k, new), the k rows of a
   * prompt together.
   */
  generate(
    seq_in: Ids,
    seq_out_start: Ids,
    seq_len: number,
    options?: XTransformerGenerate & CallControl,
  ): Promise<Tensor> {
    return this.generateTokens([seq_in, seq_out_start, seq_len], options)
  }

  /** As {@link generate}, at once. */
  generateSync(
    seq_in: Ids,
    seq_out_start: Ids,
    seq_len: number,
    options?: XTransformerGenerate,
  ): Tensor {
    return this.generateTokensSync([seq_in, seq_out_start, seq_len], options)
  }

  /**
   * As {@link generate}, token by token: a number for one row, `number[]` for several (name it:
   * `stream<number[]>`).
   */
  stream<Row extends number | number[] = number>(
    seq_in: Ids,
    seq_out_start: Ids,
    seq_len: number,
    options?: XTransformerStream & CallControl,
  ): AsyncIterable<Row> {
    return this.streamTokens([seq_in, seq_out_start, seq_len], options) as AsyncIterable<Row>
  }

  /**
   * How likely each row of the target, (batch, target length), is for its source, (batch, source
   * length). Dropout is off, and no graph is kept.
   */
  score(src: Ids, tgt: Ids, options?: XTransformerScore & CallControl): Promise<Score> {
    return this.call('score', [src, tgt], options)
  }

  /** As {@link score}, at once. */
  scoreSync(src: Ids, tgt: Ids, options?: XTransformerScore): Score {
    return this.callSync('score', [src, tgt], options)
  }
}
