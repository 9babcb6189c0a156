/**
 * The classes of the main library as they are on the page. `x.Decoder` of a spawned library is a
 * subclass that knows its worker.
 */

import type { CallControl } from '../control.js'
import type * as Main from '../models/index.js'
import type { StreamOptions, XTransformerStream } from '../models/options.gen.js'
import type { Ids } from '../tensor/arguments.js'
import { Computing, type RemoteModel, Stepwise, splitSignal } from './remote-model.js'
import { TokenStream } from './stream.js'
import type { RemoteInput, RemoteMethod } from './types.js'

/** Layers in which every position sees every other, in a worker. */
export class Encoder extends Computing<Main.Encoder> {}

/** Layers in which a position sees the earlier ones only, in a worker. */
export class Decoder extends Computing<Main.Decoder> {}

/** Layers that attend to a `context` only, in a worker. */
export class CrossAttender extends Computing<Main.CrossAttender> {}

/** One attention layer, without norm and residual, in a worker. */
export class Attention extends Computing<Main.Attention> {}

/** Token embedding, attention layers and a head that gives logits, in a worker. */
export class TransformerWrapper extends Computing<Main.TransformerWrapper> {
  /** The layers that were given. */
  get attn_layers(): Encoder | Decoder {
    return this.within('attn_layers')
  }
}

/** Attention layers over vectors, with projections in and out, in a worker. */
export class ContinuousTransformerWrapper extends Computing<Main.ContinuousTransformerWrapper> {
  /** The layers that were given. */
  get attn_layers(): Encoder | Decoder {
    return this.within('attn_layers')
  }
}

/** A vision transformer, in a worker. */
export class ViTransformerWrapper extends Computing<Main.ViTransformerWrapper> {
  /** The layers that were given. */
  get attn_layers(): Encoder {
    return this.within('attn_layers')
  }
}

/** The stream of `model`; the last argument may have a signal. */
function streamOf<Row>(model: RemoteModel, given: readonly unknown[]): AsyncIterableIterator<Row> {
  const { args, signal } = splitSignal(given)
  return new TokenStream<Row>(model, args, signal)
}

/** An encoder and a decoder over tokens, in a worker. */
export class XTransformer extends Stepwise<Main.XTransformer> {
  /**
   * Writes on behind `seq_out_start`, (batch, length), for the source `seq_in`: `seq_len` new
   * tokens, (batch, new).
   */
  get generate(): RemoteMethod<Main.XTransformer['generate']> {
    return this.compute('generate')
  }

  /** As {@link generate}, token by token; see {@link AutoregressiveWrapper.stream}. */
  stream<Row extends number | number[] = number>(
    seq_in: RemoteInput<Ids>,
    seq_out_start: RemoteInput<Ids>,
    seq_len: number,
    options: RemoteInput<XTransformerStream & CallControl> = {},
  ): AsyncIterableIterator<Row> {
    return streamOf(this, [seq_in, seq_out_start, seq_len, options])
  }

  /**
   * How likely each row of the target, (batch, target length), is for its source, (batch, source
   * length).
   */
  get score(): RemoteMethod<Main.XTransformer['score']> {
    return this.compute('score')
  }
}

/**
 * Trains a model over tokens to predict the next one, and generates with it, in a worker. Shares
 * the weights of `net`.
 */
export class AutoregressiveWrapper extends Stepwise<Main.AutoregressiveWrapper> {
  /** The model that was given. */
  get net(): TransformerWrapper {
    return this.within('net')
  }

  /**
   * Writes on: `seq_len` new tokens, (batch, new) for a start of (batch, length), (new) for a start
   * of (length).
   */
  get generate(): RemoteMethod<Main.AutoregressiveWrapper['generate']> {
    return this.compute('generate')
  }

  /**
   * As {@link generate}, token by token: a number for one row, `number[]` for several (name it:
   * `stream<number[]>`). The worker is at most a few tokens ahead of the reader; other calls run
   * between two tokens. Leaving the loop ends the generation.
   */
  stream<Row extends number | number[] = number>(
    start_tokens: RemoteInput<Ids>,
    seq_len: number,
    options: RemoteInput<StreamOptions & CallControl> = {},
  ): AsyncIterableIterator<Row> {
    return streamOf(this, [start_tokens, seq_len, options])
  }

  /** How likely each row of tokens is, (batch, length) or (length). */
  get score(): RemoteMethod<Main.AutoregressiveWrapper['score']> {
    return this.compute('score')
  }
}

type MainContinuous = Main.ContinuousAutoregressiveWrapper

/**
 * Trains a model over vectors to predict the next one, and generates with it, in a worker. Shares
 * the weights of `net`.
 */
export class ContinuousAutoregressiveWrapper extends Stepwise<MainContinuous> {
  /** The model that was given. */
  get net(): ContinuousTransformerWrapper {
    return this.within('net')
  }

  /**
   * `seq_len` new vectors, (batch, new, dim) for a start of (batch, length, dim), (new, dim) for a
   * start of (length, dim).
   */
  get generate(): RemoteMethod<Main.ContinuousAutoregressiveWrapper['generate']> {
    return this.compute('generate')
  }
}

/**
 * Trains a model over an Encoder to fill in masked tokens, in a worker. Shares the weights of
 * `net`.
 */
export class NonAutoregressiveWrapper extends Computing<Main.NonAutoregressiveWrapper> {
  /** The model that was given. */
  get net(): TransformerWrapper {
    return this.within('net')
  }

  /** The critic that was given; null without one, also where `net` is its own. */
  get token_critic(): TransformerWrapper | null {
    return this.within<TransformerWrapper | undefined>('token_critic') ?? null
  }

  /** Token ids, (batch_size, max_seq_len), or (max_seq_len) without `batch_size`. */
  get generate(): RemoteMethod<Main.NonAutoregressiveWrapper['generate']> {
    return this.compute('generate')
  }
}
