/**
 * Evaluates code in a realm of its own, with other copies of all built-ins: a `vm` context in Node,
 * an iframe in a page.
 */
export type Realm = <T = unknown>(code: string) => T

export async function otherRealm(): Promise<Realm> {
  if (typeof document === 'undefined') {
    // a name that Vite does not look into: there is no such module in a page
    const name = 'node:vm'
    const { createContext, runInContext } = (await import(
      /* @vite-ignore */ name
    )) as typeof import('node:vm')
    const context = createContext()
    return (code) => runInContext(code, context)
  }
  const frame = document.createElement('iframe')
  document.body.append(frame)
  const { eval: evaluate } = frame.contentWindow as unknown as { eval: (code: string) => unknown }
  return (code) => evaluate(`(${code})`) as never
}
