// The declared interface of the native methods against the addon for Node. For WebAssembly the
// compiler checks it (`implements Native` in ts/wasm/addon.ts).
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { native } from '../../ts/native/native.node.js'

const CONTEXT = '{"seed":0,"call":0,"grad":false}'

/** The members of every interface in ts/native, sorted. */
function declared(): Map<string, string[]> {
  const members = new Map<string, string[]>()
  for (const name of ['types.ts', 'methods.gen.ts', 'native.ts']) {
    const path = fileURLToPath(new URL(`../../ts/native/${name}`, import.meta.url))
    const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest)
    for (const { name, members: own } of file.statements.filter(ts.isInterfaceDeclaration))
      members.set(
        name.text,
        own.map((member) => member.name?.getText(file) ?? ''),
      )
  }
  const functions = members.get('NativeFunctions') ?? []
  members.delete('NativeFunctions')
  members.get('Native')?.push(...functions)
  for (const names of members.values()) names.sort()
  return members
}

/** The properties of an object and of its class. */
function present(object: object): string[] {
  const prototype = Object.getPrototypeOf(object)
  const inherited = prototype === Object.prototype ? [] : Object.getOwnPropertyNames(prototype)
  return [...Object.keys(object), ...inherited].filter((name) => name !== 'constructor').sort()
}

function instances(): Record<string, object> {
  const tensor = native.tensor(new Uint8Array(8), 'i64', 'i64', [1, 1], 'cpu')
  const weight = native.op('zeros', [], '{"shape":[2]}', CONTEXT).asLeaf()
  const layers = native.construct(
    'Decoder',
    '{"dim":8,"depth":1,"heads":1,"attn_dim_head":8}',
    [],
    'cpu',
    CONTEXT,
  )
  const options = '{"num_tokens":4,"max_seq_len":4,"attn_layers":{"$module":0}}'
  const net = native.construct('TransformerWrapper', options, [layers], 'cpu', CONTEXT)
  const wrapper = '{"net":{"$module":0}}'
  const model = native.construct('AutoregressiveWrapper', wrapper, [net], 'cpu', CONTEXT)
  return {
    // classes of the addon are exported too
    Native: Object.fromEntries(
      Object.entries(native).filter(([name]) => !name.startsWith('Native')),
    ),
    NativeTensor: tensor,
    NativeResult: net.callSync('forward', '[{"$tensor":0}]', [tensor], CONTEXT),
    NativeAbortFlag: native.abortFlag(),
    NativeModule: model,
    NativeGeneration: model.generation('generate', '[{"$tensor":0},1]', [tensor], CONTEXT),
    NativeOptimizer: native.optimizer('SGD', [weight], '[{"count":1,"settings":{"lr":0.1}}]'),
    NativeReader: native.reader('{"size":null,"key":null,"widen":false}'),
  }
}

describe('the addon has exactly the declared members', () => {
  const interfaces = declared()
  const objects = instances()

  it('in every native object', () => {
    const names = [...interfaces.keys()].filter((name) => name.startsWith('Native'))
    expect(names.sort()).toEqual(Object.keys(objects).sort())
  })

  it.each(Object.entries(objects))('in %s', (name, object) => {
    expect(present(object)).toEqual(interfaces.get(name))
  })
})
