/** Options of low-rank updates, checked alike on both sides of a worker. */
import { checkFlag, checkNumber, checkOptions, refuse } from '../checks.js'
import { checkPattern, type NamePattern, type WirePattern } from '../module/patterns.js'

/** Options of a `LoRA`, with the names and defaults of Python's `peft`. */
export interface LoRAOptions {
  /**
   * Which linear layers: patterns of their names, which are those of their weights without
   * `.weight`. In a text, `*` stands for any characters and `?` for one; a RegExp is looked for in
   * the names. By default all.
   *
   * @default '*'
   */
  target_modules?: NamePattern | readonly NamePattern[] | undefined
  /**
   * The rank of the updates, at most 65,536.
   *
   * @default 8
   */
  r?: number | undefined
  /**
   * The factor of the updates is `lora_alpha / r`.
   *
   * @default 8
   */
  lora_alpha?: number | undefined
  /**
   * Whether it is `lora_alpha / sqrt(r)`, which keeps large ranks from learning ever less (rsLoRA,
   * https://arxiv.org/abs/2312.03732).
   *
   * @default false
   */
  use_rslora?: boolean | undefined
}

/** Options of `LoRA.of`. */
export interface LoRAOfOptions {
  /**
   * Whether all parameters but the matrices are frozen, as the constructor of a LoRA freezes them.
   *
   * @default false
   */
  freeze?: boolean | undefined
}

/** More than any layer is wide: an update of a higher rank than that can do nothing more. */
const MAX_RANK = 65_536

/** The options of a LoRA as plain data. */
export interface CheckedLoRA {
  target_modules: WirePattern[]
  r: number
  lora_alpha: number
  use_rslora: boolean
}

/** @throws XTransformersError (`invalid_options`, `invalid_argument`) */
export function checkLoRA(options: LoRAOptions): CheckedLoRA {
  const own = checkOptions(options, 'LoRA', ['target_modules', 'r', 'lora_alpha', 'use_rslora'])
  const { target_modules: given = '*', r = 8 } = own
  const patterns = Array.isArray(given) ? given : [given]
  if (patterns.length === 0) throw refuse('target_modules', 'a pattern or some of them', given)
  if (!Number.isSafeInteger(r) || r < 1 || r > MAX_RANK)
    throw refuse('r', `a whole number from 1 to ${MAX_RANK}`, r, 'invalid_options')
  const lora_alpha = checkNumber(own.lora_alpha ?? 8, 'lora_alpha')
  if (!(lora_alpha > 0 && Number.isFinite(lora_alpha)))
    throw refuse('lora_alpha', 'a number above 0', lora_alpha, 'invalid_options')
  const use_rslora = checkFlag(own.use_rslora, 'use_rslora', false)
  return { target_modules: patterns.map(checkPattern), r, lora_alpha, use_rslora }
}

/** The factor of the updates. */
export const scaleOf = ({ r, lora_alpha, use_rslora }: Omit<CheckedLoRA, 'target_modules'>) =>
  lora_alpha / (use_rslora ? Math.sqrt(r) : r)
