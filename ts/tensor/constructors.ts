/**
 * What the constructor of a model of the user's own makes, models and leaves.
 *
 * JavaScript does not tell when a constructor ends. So a model and what is made later in the same
 * turn of the event loop are put together by the stack: where the constructor is on it, it has made
 * them. Engines whose stacks do not say so find nothing.
 */

/** The constructor of one model: what it has made so far. */
export interface Construction {
  /** Of the model's class and those that it extends. */
  readonly names: ReadonlySet<string>
  readonly made: WeakRef<object>[]
}

/** Those of this turn of the event loop, latest last. */
const recent: Construction[] = []

/** The constructors with these names are about to run: from now on what they make is recorded. */
export function recordConstruction(names: ReadonlySet<string>): Construction {
  const construction: Construction = { names, made: [] }
  if (recent.push(construction) === 1) queueMicrotask(() => recent.splice(0))
  return construction
}

/**
 * Records a new object as made by the innermost constructor on the stack.
 *
 * @param own the names of the object's own classes from the base class on, whose constructors are
 *   on the stack too; empty for a tensor
 */
export function recordMade(made: object, own: readonly string[] = []): void {
  if (recent.length === 0) return
  // the object's own constructors come first: the base class, and from there on what extends it
  let next = 0
  for (const name of constructorsOnStack()) {
    const at = own.indexOf(name, next)
    if (at >= 0) next = at + 1
    const construction = at < 0 && recent.findLast(({ names }) => names.has(name))
    if (!construction) continue
    construction.made.push(new WeakRef(made))
    return
  }
}

/** The classes whose constructors run, innermost first. */
function constructorsOnStack(): string[] {
  const stack = wholeStack()
  if (typeof stack !== 'string') return []
  return Array.from(stack.matchAll(/^\s+at new (\S+)/gm), ([, name]) => name as string)
}

interface StackSettings {
  stackTraceLimit?: number
  prepareStackTrace?: unknown
}

/**
 * The stack as the engine writes it: a program may have cut it short, or have it written in another
 * way.
 */
function wholeStack(): string | undefined {
  const settings = Error as StackSettings
  const [limit, prepare] = [settings.stackTraceLimit, settings.prepareStackTrace]
  try {
    settings.stackTraceLimit = Number.POSITIVE_INFINITY
    if (prepare !== undefined) settings.prepareStackTrace = undefined
    return new Error().stack
  } catch {
    // settings may be frozen
    return new Error().stack
  } finally {
    try {
      if (limit === undefined) delete settings.stackTraceLimit
      else settings.stackTraceLimit = limit
      if (prepare !== undefined) settings.prepareStackTrace = prepare
    } catch {}
  }
}
