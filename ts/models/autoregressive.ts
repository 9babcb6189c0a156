import { checkOptions } from '../checks.js'
import type { CallControl } from '../control.js'
import { XTransformersError } from '../errors.js'
import type { Ids, Vectors } from '../tensor/arguments.js'
import type { Tensor } from '../tensor/tensor.js'
import { Generative, type Score } from './generative.js'
import { NativeModel } from './native-model.js'
import { LoadedNative } from './native-weights.js'
import type {
  AutoregressiveCall,
  AutoregressiveWrapperOptions,
  ContinuousAutoregressiveCall,
  ContinuousGenerate,
  ContinuousAutoregressiveWrapperOptions as ContinuousOptions,
  GenerateOptions,
  NonAutoregressiveCall,
  NonAutoregressiveGenerate,
  NonAutoregressiveWrapperOptions,
  ScoreOptions,
  StreamOptions,
} from './options.gen.js'
import type { None, Only } from './outputs.js'
import { ids, prompts } from './signatures.js'
import { Stepwise } from './stepwise.js'
import type { ContinuousTransformerWrapper, TransformerWrapper } from './transformer.js'

/**
 * What a wrapper was given, as one object of options; a loaded model is taken over as it is.
 *
 * @throws XTransformersError (`invalid_options`) where `options` is no object of options
 */
function withNet(className: string, net: unknown, options: object | undefined): object {
  if (net instanceof LoadedNative) return net
  const own = checkOptions(options, className)
  if (!Object.hasOwn(own, 'net')) return { net, ...own }
  const message = `net is not an option of ${className}: it is the first argument, the options are the second`
  throw new XTransformersError('invalid_options', message)
}

type Outputs = 'return_outputs'
type WithOutputs = AutoregressiveCall & Only<Outputs, Outputs>

const SIGNATURES = {
  forward: ids('x'),
  generate: prompts('start_tokens'),
  stream: prompts('start_tokens'),
  score: ids('tokens'),
}

/**
 * Trains a model over tokens to predict the next one, and generates with it. Shares the weights of
 * `net`.
 *
 * @example
 * const model = new AutoregressiveWrapper(new TransformerWrapper({
 *   num_tokens: 256, max_seq_len: 1024,
 *   attn_layers: new Decoder({ dim: 512, depth: 6 }),
 * }))
 * const loss = await model.forward(randint(0, 256, [4, 1025]))
 */
export class AutoregressiveWrapper extends Generative<AutoregressiveWrapperOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(net: TransformerWrapper, options?: AutoregressiveWrapperOptions) {
    super('AutoregressiveWrapper', withNet('AutoregressiveWrapper', net, options), SIGNATURES)
  }

  /** The model that was given. */
  get net(): TransformerWrapper {
    return this.within('net')
  }

  /**
   * The mean loss, one element, of predicting each token of (batch, length) from those before it.
   * `return_outputs`: the logits besides.
   */
  override forward(
    x: Ids,
    options?: AutoregressiveCall & None<Outputs> & CallControl,
  ): Promise<Tensor>
  override forward(
    x: Ids,
    options: WithOutputs & CallControl,
  ): Promise<[loss: Tensor, logits: Tensor]>
  override forward(
    x: Ids,
    options?: AutoregressiveCall & CallControl,
  ): Promise<Tensor | [loss: Tensor, logits: Tensor]>
  override forward(x: Ids, options?: AutoregressiveCall & CallControl): Promise<never> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Ids, options?: AutoregressiveCall & None<Outputs>): Tensor
  forwardSync(x: Ids, options: WithOutputs): [loss: Tensor, logits: Tensor]
  forwardSync(x: Ids, options?: AutoregressiveCall): Tensor | [loss: Tensor, logits: Tensor]
  forwardSync(x: Ids, options?: AutoregressiveCall): never {
    return this.callSync('forward', [x], options)
  }

  /**
   * Writes on: `seq_len` new tokens, (batch, new) for a start of (batch, length), (new) for a start
   * of (length). Dropout is off meanwhile. With `num_return_sequences` of k more than 1: (batch *
   * k, new), the k rows of a prompt together.
   *
   * Prompts of different lengths are an array, or are padded, on either side, and a `mask` says
   * which tokens are real (`prompt_lens`: how many): each row goes on behind its own last one, and
   * its positions count from its own first one.
   *
   * A `filter_logits_fn` of your own gets logits (rows, num_tokens) and gives logits; what it makes
   * besides is freed after each token.
   *
   * @example
   * const options = { temperature: 0.8, filter_logits_fn: 'top_p' }
   * const tokens = await model.generate(prompt, 256, options)
   */
  generate(
    start_tokens: Ids | readonly Ids[],
    seq_len: number,
    options?: GenerateOptions & CallControl,
  ): Promise<Tensor> {
    return this.generateTokens([start_tokens, seq_len], options)
  }

  /** As {@link generate}, at once. */
  generateSync(
    start_tokens: Ids | readonly Ids[],
    seq_len: number,
    options?: GenerateOptions,
  ): Tensor {
    return this.generateTokensSync([start_tokens, seq_len], options)
  }

  /**
   * As {@link generate}, token by token: a number for one row, `number[]` for several (name it:
   * `stream<number[]>`); a row that has ended gives `pad_value`. Leaving the loop frees the
   * generation. There is no beam search here: its first token is known at the end only.
   *
   * @example
   * for await (const token of model.stream(prompt, 256, { signal })) {
   *   process.stdout.write(decode(token))
   * }
   */
  stream<Row extends number | number[] = number>(
    start_tokens: Ids | readonly Ids[],
    seq_len: number,
    options?: StreamOptions & CallControl,
  ): AsyncIterable<Row> {
    return this.streamTokens([start_tokens, seq_len], options) as AsyncIterable<Row>
  }

  /**
   * How likely each row of tokens is, (batch, length) or (length), at least 2 long. Dropout is off,
   * and no graph is kept.
   *
   * @example
   * const { log_probs, perplexity } = await model.score(tokens, { mask })
   */
  score(tokens: Ids, options?: ScoreOptions & CallControl): Promise<Score> {
    return this.call('score', [tokens], options)
  }

  /** As {@link score}, at once. */
  scoreSync(tokens: Ids, options?: ScoreOptions): Score {
    return this.callSync('score', [tokens], options)
  }
}

/**
 * Trains a model over vectors to predict the next one, and generates with it. Shares the weights of
 * `net`.
 *
 * @example
 * const net = new ContinuousTransformerWrapper({
 *   dim_in: 777, dim_out: 777, max_seq_len: 1024,
 *   attn_layers: new Decoder({ dim: 512, depth: 12 }),
 * })
 * const model = new ContinuousAutoregressiveWrapper(net)
 * const loss = await model.forward(randn([1, 1024, 777]))
 * const vectors = await model.generate(randn([1, 777]), 17) // (17, 777)
 */
export class ContinuousAutoregressiveWrapper extends Stepwise<ContinuousOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(net: ContinuousTransformerWrapper, options?: ContinuousOptions) {
    super(
      'ContinuousAutoregressiveWrapper',
      withNet('ContinuousAutoregressiveWrapper', net, options),
    )
  }

  /** The model that was given. */
  get net(): ContinuousTransformerWrapper {
    return this.within('net')
  }

  /**
   * The mean squared error, one element, of predicting each vector of (batch, length, dim_in) from
   * those before it.
   */
  override forward(
    x: Vectors,
    options?: ContinuousAutoregressiveCall & CallControl,
  ): Promise<Tensor> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Vectors, options?: ContinuousAutoregressiveCall): Tensor {
    return this.callSync('forward', [x], options)
  }

  /**
   * `seq_len` new vectors, (batch, new, dim) for a start of (batch, length, dim), (new, dim) for a
   * start of (length, dim).
   */
  generate(
    start_tokens: Vectors,
    seq_len: number,
    options?: ContinuousGenerate & CallControl,
  ): Promise<Tensor> {
    return this.call('generate', [start_tokens, seq_len], options)
  }

  /** As {@link generate}, at once. */
  generateSync(start_tokens: Vectors, seq_len: number, options?: ContinuousGenerate): Tensor {
    return this.callSync('generate', [start_tokens, seq_len], options)
  }
}

/** The losses of a {@link NonAutoregressiveWrapper}, one element each. */
export interface Losses<Generator extends Tensor | null = Tensor> {
  /** What to go back from: the weighted sum of both, or the only one there is. */
  loss: Tensor
  /** Null where only the critic trains. */
  generator_loss: Generator
  /** Null without a critic. */
  critic_loss: Tensor | null
}

type OneLoss = Losses<Tensor | null>

/**
 * Trains a model over an Encoder to fill in masked tokens, and generates all tokens at once in a
 * few steps. Shares the weights of `net`.
 *
 * @example
 * const net = new TransformerWrapper({
 *   num_tokens: 257, max_seq_len: 64,
 *   attn_layers: new Encoder({ dim: 512, depth: 6 }),
 * })
 * const model = new NonAutoregressiveWrapper(net, {
 *   mask_id: 256, steps: 18, schedule: 'cosine', self_token_critic: true,
 * })
 * const { loss } = await model.forward(randint(0, 256, [4, 64]))
 * const tokens = await model.generate({ batch_size: 2 }) // (2, 64)
 */
export class NonAutoregressiveWrapper extends NativeModel<NonAutoregressiveWrapperOptions> {
  /** @throws XTransformersError (`invalid_options`) with every problem of the options */
  constructor(net: TransformerWrapper, options: NonAutoregressiveWrapperOptions) {
    const own = withNet('NonAutoregressiveWrapper', net, options)
    super('NonAutoregressiveWrapper', own, { forward: ids('x') })
  }

  /** The model that was given. */
  get net(): TransformerWrapper {
    return this.within('net')
  }

  /** The critic that was given; null without one, also where `net` is its own. */
  get token_critic(): TransformerWrapper | null {
    return this.within<TransformerWrapper | undefined>('token_critic') ?? null
  }

  /** The losses for token ids, (batch, max_seq_len). */
  override forward(
    x: Ids,
    options?: NonAutoregressiveCall & None<'only_train_critic'> & CallControl,
  ): Promise<Losses>
  override forward(x: Ids, options?: NonAutoregressiveCall & CallControl): Promise<OneLoss>
  override forward(x: Ids, options?: NonAutoregressiveCall & CallControl): Promise<never> {
    return this.call('forward', [x], options)
  }

  /** As `forward`, at once. */
  forwardSync(x: Ids, options?: NonAutoregressiveCall & None<'only_train_critic'>): Losses
  forwardSync(x: Ids, options?: NonAutoregressiveCall): OneLoss
  forwardSync(x: Ids, options?: NonAutoregressiveCall): never {
    return this.callSync('forward', [x], options)
  }

  /** Token ids, (batch_size, max_seq_len), or (max_seq_len) without `batch_size`. */
  generate(options?: NonAutoregressiveGenerate & CallControl): Promise<Tensor> {
    return this.call('generate', [], options)
  }

  /** As {@link generate}, at once. */
  generateSync(options?: NonAutoregressiveGenerate): Tensor {
    return this.callSync('generate', [], options)
  }
}
