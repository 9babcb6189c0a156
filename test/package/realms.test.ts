// The built package in other realms, as Jest loads it, and beside other copies of itself.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

type Library = typeof import('x-transformers')
type Worker = typeof import('x-transformers/worker')

const root = fileURLToPath(new URL('../..', import.meta.url))
const require = createRequire(import.meta.url)
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'x-transformers-realms-')))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/**
 * The globals that Jest's Node environment passes to a context: these come from the main realm, and
 * all built-ins of the language from the context.
 */
const GIVEN = {
  process,
  Buffer,
  AbortController,
  AbortSignal,
  URL,
  Blob,
  TextDecoder,
  TextEncoder,
  console,
}
const PLATFORM = {
  setTimeout,
  setImmediate,
  queueMicrotask,
  MessageChannel,
  ReadableStream,
  Response,
  fetch,
}

interface Loaded {
  library: Library
  worker: Worker
  /** Runs code in the realm. */
  run<T>(code: string, names?: Record<string, unknown>): T
}

/**
 * The files of a copy, each run by a script in a context with the loader's `require`, as Jest does.
 */
function loadInContext(copy: string, globals: object = { ...GIVEN, ...PLATFORM }): Loaded {
  const context = vm.createContext({ ...globals })
  const modules = new Map<string, { exports: object }>()
  const load = (file: string): object => {
    const known = modules.get(file)
    if (known) return known.exports
    const module = { exports: {} }
    modules.set(file, module)
    const wrapper = `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'utf8')}\n})`
    const script = new vm.Script(wrapper, { filename: file })
    const inside = (name: string) =>
      name.startsWith('.') ? load(join(dirname(file), name)) : require(name)
    script.runInContext(context)(module.exports, inside, module, file, dirname(file))
    return module.exports
  }
  return {
    library: load(join(copy, 'dist/cjs/index.js')) as Library,
    worker: load(join(copy, 'dist/cjs/worker.js')) as Worker,
    run: (code, names = {}) => {
      Object.assign(context, names)
      return vm.runInContext(code, context)
    },
  }
}

/** A copy of the built package in a separate folder. */
function copyOf(name: string): string {
  const copy = join(folder, name, 'node_modules/x-transformers')
  mkdirSync(join(copy, 'dist'), { recursive: true })
  cpSync(join(root, 'dist/cjs'), join(copy, 'dist/cjs'), { recursive: true })
  return copy
}

const layers = { dim: 16, depth: 1, heads: 2, attn_dim_head: 8 }

function modelOf({ AutoregressiveWrapper, TransformerWrapper, Decoder }: Library) {
  return new AutoregressiveWrapper(
    new TransformerWrapper({ num_tokens: 11, max_seq_len: 16, attn_layers: new Decoder(layers) }),
  )
}

function thrown(call: () => unknown): Error & { code: string; problems: { path: string }[] } {
  try {
    call()
  } catch (error) {
    return error as never
  }
  throw new Error('nothing was thrown')
}

let places: [string, string]
beforeAll(() => {
  // one addon for all copies: only the TypeScript files are copied
  const require = createRequire(join(root, 'dist/cjs/index.js'))
  require('../../dist/cjs/index.js')
  const addon = Object.keys(require.cache).find((path) => path.endsWith('.node'))
  if (addon) process.env.X_TRANSFORMERS_ADDON = addon
  places = [copyOf('a'), copyOf('b')]
})

describe('the package in a separate realm', () => {
  let inside: Loaded
  beforeAll(() => {
    inside = loadInContext(places[0])
  })

  it('throws errors with their codes and problems', async () => {
    const { Decoder, XTransformersError, ones } = inside.library
    const error = thrown(() => new Decoder({ dim: 0, depth: 1, head: 8 } as never))
    expect(error.code).toBe('invalid_options')
    expect(error.problems.map(({ path }) => path).sort()).toEqual(['dim', 'head'])
    expect(error).toBeInstanceOf(XTransformersError)
    expect(inside.run<(e: unknown) => boolean>('(error) => error instanceof Error')(error)).toBe(
      true,
    )
    expect(thrown(() => ones([2]).add(ones([3])))).toMatchObject({ code: 'invalid_tensor' })
    await expect(modelOf(inside.library).forward(ones([2, 8]))).rejects.toMatchObject({
      name: 'XTransformersError',
    })
  })

  it('throws no internal errors for errors of the caller', async () => {
    const model = modelOf(inside.library)
    for (const call of [
      () => model.forward(3 as never),
      () => model.generate(undefined as never, 3),
      () => model.score('x' as never),
    ]) {
      const error = await call().then(
        () => null,
        (error: { code: string }) => error,
      )
      expect(error?.code).not.toBe('internal')
      expect(error?.code).toBeTypeOf('string')
    }
  })

  it('accepts values of the main realm, and of its own', () => {
    const { tensor, zeros } = inside.library
    const x = tensor(new Float32Array([0.5, 1]))
    expect([x.dtype, x.toArray()]).toEqual(['f32', [0.5, 1]])
    const own = tensor(inside.run('new Float64Array([0.1])'))
    expect(own.dtype).toBe('f64')
    expect(zeros(inside.run('[2, 3]'), inside.run('({ dtype: "f64" })')).dtype).toBe('f64')
  })

  it('returns values of its own realm', async () => {
    const { tensor } = inside.library
    const is = inside.run<(x: unknown, name: string) => boolean>(
      '(x, name) => x instanceof globalThis[name]',
    )
    const model = modelOf(inside.library)
    expect(is(tensor([1, 2], { dtype: 'u8' }).dataSync(), 'Uint8Array')).toBe(true)
    expect(is(tensor([1, 2]).dataSync(), 'Float32Array')).toBe(true)
    expect(is(tensor([1, 2]).shape, 'Array')).toBe(true)
    expect(is(await model.saveBytes(), 'Uint8Array')).toBe(true)
    expect(is(model.saveBytesSync(), 'Uint8Array')).toBe(true)
    expect(is(model.forward(tensor([[1, 2, 3]], { dtype: 'i64' })), 'Promise')).toBe(true)
  })

  it('trains, generates, saves and loads', async () => {
    const { AdamW, load, tensor, tidy } = inside.library
    const model = modelOf(inside.library)
    const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
    const batch = tensor([[1, 2, 3, 4, 5, 6, 7, 8]], { dtype: 'i64' })
    const losses: number[] = []
    for (let i = 0; i < 3; i++) {
      const loss = await model.forward(batch)
      losses.push(loss.item() as number)
      await loss.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
    expect(losses[2]).toBeLessThan(losses[0] as number)
    const tokens = await model.generate(batch, 3, {
      temperature: 1e-6,
      filter_logits_fn: (logits) => tidy(() => logits.mul(1)),
    })
    const again = await load(await model.saveBytes())
    expect(
      (await (again as typeof model).generate(batch, 3, { temperature: 1e-6 })).toArray(),
    ).toEqual(tokens.toArray())
    expect(optimizer.stateDict().param_groups[0]?.lr).toBe(1e-2)
    expect(model.options).toMatchObject({ net: { class: 'TransformerWrapper' } })
  })

  it('runs with the smaller set of functions of a Jest page', async () => {
    const { library } = loadInContext(places[0], { process, setTimeout, console })
    const model = modelOf(library)
    expect(model.options).toMatchObject({ net: { class: 'TransformerWrapper' } })
    expect((await model.forward(library.tensor([[1, 2, 3]], { dtype: 'i64' }))).shape).toEqual([])
  })

  it('communicates with its worker', async () => {
    const { spawn, tensor } = inside.worker
    const x = await spawn()
    try {
      const net = new x.TransformerWrapper({
        num_tokens: 11,
        max_seq_len: 16,
        attn_layers: new x.Decoder(layers),
      })
      const logits = await net.forward(tensor([[1, 2, 3]], { dtype: 'i64' }))
      expect(logits.shape).toEqual([1, 3, 11])
      await expect(net.forward(3 as never)).rejects.toMatchObject({ name: 'XTransformersError' })
      await expect(new x.Decoder({ dim: 0 } as never).ready).rejects.toMatchObject({
        code: 'invalid_options',
      })
    } finally {
      x.terminate()
    }
  })
})

describe('two copies of the package', () => {
  let a: Library
  let b: Library
  beforeAll(() => {
    a = require(join(places[0], 'dist/cjs/index.js')) as Library
    b = require(join(places[1], 'dist/cjs/index.js')) as Library
  })

  /** The error names both copies, and what to do. */
  function expectReports(error: { code: string; message: string }, what: string): void {
    expect(error.code).toMatch(/^invalid_(argument|options)$/)
    expect(error.message).toContain(`${what} of another copy of x-transformers`)
    for (const place of places) expect(error.message).toContain(place)
    expect(error.message).not.toContain('shared.js')
    expect(error.message).toContain('one copy')
  }

  it('are different', () => {
    expect(a.Tensor).not.toBe(b.Tensor)
  })

  it('report a tensor of the other copy in an operation, a call, an option, a state dict and a gradient', async () => {
    const foreign = a.ones([1, 3])
    expectReports(
      thrown(() => b.ones([1, 3]).add(foreign as never)),
      'a Tensor',
    )
    expectReports(
      thrown(() => b.cat([foreign as never])),
      'a Tensor',
    )
    const model = modelOf(b)
    const reject = (call: Promise<unknown>) =>
      call.then(
        () => thrown(() => {}),
        (error) => error,
      )
    expectReports(await reject(model.forward(foreign as never)), 'a Tensor')
    const ids = b.tensor([[1, 2, 3, 4]], { dtype: 'i64' })
    const error = await reject(model.forward(ids, { mask: foreign as never }))
    expectReports(error, 'a Tensor')
    expect(error.message).toContain('mask')
    const x = b.ones([1, 3], { requires_grad: true })
    expectReports(
      thrown(() => Object.assign(x, { grad: foreign })),
      'a Tensor',
    )
    expect(thrown(() => model.loadStateDict({ x: foreign as never })).message).toContain(
      'another copy',
    )
  })

  it('report models and parameters of the other copy', () => {
    const foreign = modelOf(a)
    expectReports(
      thrown(() => new b.AutoregressiveWrapper(foreign.net as never)),
      'a TransformerWrapper',
    )
    expectReports(
      thrown(() => new b.AdamW(foreign.parameters() as never)),
      'a Tensor',
    )
    expectReports(
      thrown(() => b.clipGradNormSync(foreign.parameters() as never, 1)),
      'a Tensor',
    )
    expectReports(
      thrown(() => b.describe(foreign as never)),
      'an AutoregressiveWrapper',
    )
  })

  it("recognise each other's errors", () => {
    const error = thrown(() => new a.Decoder({} as never))
    expect(error).toBeInstanceOf(a.XTransformersError)
    expect(error).toBeInstanceOf(b.XTransformersError)
    const { library } = loadInContext(places[0])
    expect(thrown(() => new library.Decoder({} as never))).toBeInstanceOf(a.XTransformersError)
    expect(error).toBeInstanceOf(library.XTransformersError)
  })

  it('of the same file are reported as one that was loaded twice', () => {
    const { library } = loadInContext(places[0])
    const { message } = thrown(() => library.ones([1]).add(a.ones([1]) as never))
    expect(message).toMatch(/loaded twice/)
    expect(message).toContain(places[0])
  })
})
