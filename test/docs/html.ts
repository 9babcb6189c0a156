// Contents of HTML blocks.
import type { Block } from './pages.js'

/** The module scripts of a block, as blocks of TypeScript. */
export const moduleScripts = (block: Block): Block[] =>
  [...block.code.matchAll(/<script type="module">\n(.*?)<\/script>/gs)].map(([, code]) => ({
    ...block,
    code: code as string,
  }))

/** The URLs in the import maps of a block. */
export const importedAddresses = ({ code }: Block): string[] =>
  [...code.matchAll(/<script type="importmap">(.*?)<\/script>/gs)].flatMap(([, map]) =>
    Object.values(JSON.parse(map as string).imports as Record<string, string>),
  )
