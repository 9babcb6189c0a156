/**
 * Evaluates code in a separate realm, with other copies of all built-ins: a `vm` context in Node,
 * an iframe in a browser.
 */
export type Realm = <T = unknown>(code: string) => T

export async function otherRealm(): Promise<Realm> {
  if (typeof document === 'undefined') {
    // a computed name, which Vite does not resolve: a browser has no such module
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
