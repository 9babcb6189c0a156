import { beforeAll, describe, expect, it } from 'vitest'
import {
  AdamW,
  AutoregressiveWrapper,
  clipGradNormSync,
  Decoder,
  ones,
  type TensorData,
  TransformerWrapper,
  tensor,
  tidy,
  XTransformersError,
} from 'x-transformers'
import { HostTensor, tensor as hostTensor } from 'x-transformers/worker'
import { ids, smallNet } from './helpers.js'
import { otherRealm, type Realm } from './realm.js'

let realm: Realm
beforeAll(async () => {
  realm = await otherRealm()
})

const refused = (call: () => unknown, message: RegExp, code = 'invalid_argument') =>
  expect(call).toThrowError(
    expect.objectContaining({
      name: 'XTransformersError',
      code,
      message: expect.stringMatching(message),
    }),
  )

const KINDS: [string, string, unknown[]][] = [
  ['Float32Array', 'f32', [1.5, -2]],
  ['Float64Array', 'f64', [0.1, -2]],
  ['Uint8Array', 'u8', [1, 255]],
  ['Uint8ClampedArray', 'u8', [1, 255]],
  ['Int8Array', 'i64', [1, -128]],
  ['Int16Array', 'i64', [1, -300]],
  ['Int32Array', 'i64', [1, -70000]],
  ['Uint16Array', 'i64', [1, 65535]],
  ['Uint32Array', 'i64', [1, 4294967295]],
  ['BigInt64Array', 'i64', [1, -5]],
  ['BigUint64Array', 'i64', [1, 5]],
]

const literal = (kind: string, values: unknown[]) =>
  kind.startsWith('Big') ? `${values.join('n, ')}n` : values.join(', ')

describe('typed arrays', () => {
  it.each(KINDS)('of another realm keep their kind: %s', (kind, dtype, values) => {
    const data = realm<TensorData>(`new ${kind}([${literal(kind, values)}])`)
    const x = tensor(data)
    expect([x.dtype, x.toArray()]).toEqual([dtype, values])
    const host = hostTensor(data)
    expect([host.dtype, host.toArray()]).toEqual([dtype, values])
  })

  it.each(KINDS)('of a subclass are treated as their base class: %s', (kind, dtype, values) => {
    const Base = (globalThis as unknown as Record<string, typeof Float64Array>)[
      kind
    ] as typeof Float64Array
    class Mine extends Base {}
    const x = tensor(
      Mine.from(values.map((v) => (kind.startsWith('Big') ? BigInt(v as number) : v)) as never),
    )
    expect([x.dtype, x.toArray()]).toEqual([dtype, values])
  })

  it('of half precision keep their type, if the engine has them', () => {
    const Half = (globalThis as { Float16Array?: typeof Float32Array }).Float16Array
    if (!Half) return refused(() => tensor(new DataView(new ArrayBuffer(4)) as never), /DataView/)
    const x = tensor(Half.from([1.5, -2]) as never)
    expect([x.dtype, x.toArray()]).toEqual(['f16', [1.5, -2]])
  })

  it('may have an offset, and be a Buffer', () => {
    expect(tensor(new Float32Array([9, 1, 2]).subarray(1)).toArray()).toEqual([1, 2])
    const { Buffer } = globalThis as { Buffer?: { from(values: number[]): Uint8Array } }
    if (Buffer) expect(tensor(Buffer.from([1, 2])).toArray()).toEqual([1, 2])
  })

  it('over shared memory are copied', () => {
    const shared = new Float32Array(new SharedArrayBuffer(8))
    shared.set([1, 2])
    const x = tensor(shared)
    shared.fill(7)
    expect(x.toArray()).toEqual([1, 2])
  })

  it('that are detached, and views without a type, are rejected', () => {
    for (const data of [new Float32Array(2), new Int32Array(2)]) {
      structuredClone(data, { transfer: [data.buffer] })
      refused(() => tensor(data), /transferred/)
    }
    refused(() => tensor(new DataView(new ArrayBuffer(8)) as never), /a DataView.*typed array/)
    refused(() => tensor(new BigUint64Array([2n ** 63n])), /i64/)
  })

  it('that are nested too deep are rejected', () => {
    const circular: unknown[] = []
    circular.push(circular)
    refused(() => tensor(circular as never), /64 axes/, 'invalid_tensor')
    refused(() => ones(Array(65).fill(1)), /64 axes/, 'invalid_tensor')
  })
})

const attn_layers = () => new Decoder({ dim: 16, depth: 1, heads: 2, attn_dim_head: 8 })

describe('options', () => {
  it('may be objects of another realm', async () => {
    const options = realm<object>('({ num_tokens: 11, max_seq_len: 16 })')
    const net = new TransformerWrapper(
      Object.assign(options, { attn_layers: attn_layers() }) as never,
    )
    const call = realm<object>('({ return_embeddings: true })')
    expect((await net.forward(ids(1, 4), call)).shape).toEqual([1, 4, 16])
    expect(ones([2], realm('({ dtype: "f64" })')).dtype).toBe('f64')
    const groups = realm<unknown[]>('[{ lr: 0.5 }]')
    Object.assign(groups[0] as object, { params: net.parameters() })
    expect(new AdamW(groups as never).lr).toBe(0.5)
  })

  it('may be objects of a class, with their own fields', async () => {
    class Layers {
      dim = 16
      depth = 1
      readonly heads: number
      constructor(heads: number) {
        this.heads = heads
      }
      describe() {
        return `${this.heads} heads`
      }
    }
    expect(new Decoder(new Layers(2)).options).toMatchObject({ dim: 16, depth: 1, heads: 2 })
    class Call {
      return_embeddings = true
    }
    expect((await smallNet().forward(ids(1, 4), new Call() as never)).shape).toEqual([1, 4, 16])
  })

  it('of an invalid kind are named', () => {
    const make = (options: unknown) => () => new Decoder(options as never)
    refused(make(new Map()), /Decoder.*a Map/, 'invalid_options')
    refused(make(new Date(0)), /Decoder.*a Date/, 'invalid_options')
    refused(make(realm('new Map()')), /Decoder.*a Map/, 'invalid_options')
    refused(make(/x/), /a RegExp/, 'invalid_options')
    refused(make(ones([1])), /a Tensor/, 'invalid_options')
    refused(make('x'), /"x"/, 'invalid_options')
    refused(make(3), /got 3/, 'invalid_options')
    class Empty {
      #dim = 16
      dim() {
        return this.#dim
      }
    }
    refused(make(new Empty()), /an Empty, which has no enumerable properties/, 'invalid_options')
    refused(make({ dim: 16, depth: new Date(0) }), /depth.*a Date/, 'invalid_options')
    refused(make({ dim: 16, $tensor: 0 }), /\$tensor is not an option/, 'invalid_options')
  })

  it('with an unknown name are rejected by every call', async () => {
    const x = ones([2], { requires_grad: true })
    refused(() => x.sum(0, { keepdims: true } as never), /keepdims.*keepdim/, 'invalid_options')
    await expect(x.sum().backward({ retain: true } as never)).rejects.toMatchObject({
      code: 'invalid_options',
    })
  })

  it('may contain values of another realm', async () => {
    const net = smallNet()
    await expect(net.forward(ids(1, 4), { mask: realm('Promise.resolve(1)') })).rejects.toThrow(
      /await it first/,
    )
    const state = realm<Map<string, unknown>>('new Map()')
    for (const [name, value] of net.stateDict()) state.set(name, value)
    expect(net.loadStateDict(state as never).missing).toEqual([])
    const kept = tidy(() => realm<Map<string, unknown>>('new Map()').set('x', ones([2])))
    expect(String(kept.get('x'))).toContain('[2]')
  })
})

describe('a tensor for a worker', () => {
  it('is distinguished from one of the library', async () => {
    const x = hostTensor([[1, 2]], { dtype: 'i64' })
    expect(x).toBeInstanceOf(HostTensor)
    await expect(smallNet().forward(x as never)).rejects.toThrow(
      /a HostTensor \(of x-transformers\/worker/,
    )
    refused(() => ones([1, 2]).add(x as never), /a HostTensor \(of x-transformers\/worker/)
  })
})

describe('invalid parameters', () => {
  it('are rejected, and not treated as an empty list', () => {
    const model = new AutoregressiveWrapper(smallNet())
    refused(
      () => clipGradNormSync(model as never, 1),
      /model\.parameters\(\).*an AutoregressiveWrapper/,
    )
    refused(() => clipGradNormSync(3 as never, 1), /model\.parameters\(\)/)
  })
})

describe('XTransformersError', () => {
  it('is recognised by instanceof, and so are classes that extend it', () => {
    class Mine extends XTransformersError {}
    const plain = new XTransformersError('file', 'x')
    const mine = new Mine('file', 'x')
    expect([plain instanceof XTransformersError, mine instanceof XTransformersError]).toEqual([
      true,
      true,
    ])
    expect([plain instanceof Mine, mine instanceof Mine]).toEqual([false, true])
    for (const other of [new Error('x'), { code: 'file' }, null, 'x', ones([1])]) {
      expect(other instanceof XTransformersError).toBe(false)
    }
  })
})

describe('a tensor', () => {
  it('identifies itself, so that frameworks do not wrap it', () => {
    expect(Object.prototype.toString.call(ones([1]))).toBe('[object Tensor]')
    expect(Object.prototype.toString.call(smallNet())).toBe('[object Module]')
  })

  it('works behind a proxy', () => {
    const x = new Proxy(tensor([1, 2]), {})
    expect([x.shape, x.add(x).toArray()]).toEqual([[2], [2, 4]])
  })
})
