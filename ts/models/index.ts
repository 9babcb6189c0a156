export {
  AutoregressiveWrapper,
  ContinuousAutoregressiveWrapper,
  type Losses,
  NonAutoregressiveWrapper,
} from './autoregressive.js'
export type { LogitsFilter, Score } from './generative.js'
export { layerSchedule, type Taper } from './layer-schedule.js'
export { Attention, CrossAttender, Decoder, Encoder, TransformerBlock } from './layers.js'
export {
  Dropout,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  RMSNorm,
} from './modules.js'
export type { AttentionIntermediates, LayerIntermediates } from './outputs.js'
export type { Cacheable } from './stepwise.js'
export {
  ContinuousTransformerWrapper,
  TransformerWrapper,
  ViTransformerWrapper,
} from './transformer.js'
export { XTransformer } from './x-transformer.js'
