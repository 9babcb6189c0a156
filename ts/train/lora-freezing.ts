/**
 * Which parameters are frozen because a model has LoRA: they are thawed once the last LoRA is gone,
 * whichever object has ended it.
 */
import { guarded } from '../errors.js'
import type { Module } from '../module/module.js'
import { ENTRIES, LORA_LAYERS } from '../module/submodule.js'
import { HANDLE, SELF } from '../symbols.js'
import type { TensorHandle } from '../tensor/handle.js'

/** The models for whose LoRA a parameter is frozen. */
const holders = new WeakMap<TensorHandle, Set<Module>>()

const MATRIX = /^(.*\.)?lora_[AB]\.weight$/

const baseOf = (model: Module): TensorHandle[] =>
  model[ENTRIES]().flatMap(({ name, kind, source }) =>
    kind === 'parameter' && !MATRIX.test(name) ? source.tensor()[HANDLE] : [],
  )

const setRequiresGrad = (handle: TensorHandle, on: boolean): void =>
  guarded(() => handle.use().setRequiresGrad(on))

/** Freezes all but the matrices; what the user has frozen stays the user's. In its turn. */
export function freezeBase(model: Module): void {
  for (const handle of baseOf(model)) {
    const held = holders.get(handle)
    if (!handle.use().requiresGrad()) {
      held?.add(model[SELF])
      continue
    }
    setRequiresGrad(handle, false)
    if (held) held.add(model[SELF])
    else holders.set(handle, new Set([model[SELF]]))
  }
}

/** Thaws what no LoRA keeps frozen any more. In its turn. */
export function thawBase(model: Module): void {
  const known = new Map<Module, boolean>()
  for (const handle of baseOf(model)) {
    const held = holders.get(handle)
    if (!held) continue
    for (const holder of held) {
      const live = known.get(holder) ?? hasLoRA(holder)
      known.set(holder, live)
      if (!live) held.delete(holder)
    }
    if (held.size > 0) continue
    holders.delete(handle)
    setRequiresGrad(handle, true)
  }
}

function hasLoRA(model: Module): boolean {
  try {
    return model[LORA_LAYERS]().length > 0
  } catch {
    // it was disposed
    return false
  }
}
