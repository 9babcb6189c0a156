// What is copied to a GPU and back, and the memory of a GPU.
import { expect, it } from 'vitest'
import { counted, emulated, MODEL, withDriver } from './emulated.js'

withDriver('on a GPU', () => {
  it('a training step copies its ids and its loss, and waits for nothing else', async () => {
    const steps = async (count: number) => {
      const { stderr } = await counted(
        `${MODEL}
         model.cuda()
         const optimizer = new AdamW(model.parameters())
         for (let i = 0; i < ${count}; i++) {
           const ids = batch.to('cuda')
           const loss = await model.forward(ids)
           await loss.backward()
           await optimizer.step()
           optimizer.zeroGrad()
           loss.item()
           loss.dispose()
           ids.dispose()
         }`,
      )
      const line = /^emulated (\d+) (.+), (\d+) bytes$/gm
      const calls = [...stderr.matchAll(line)].map(
        ([, count, name, bytes]) => [name as string, [Number(count), Number(bytes)]] as const,
      )
      return new Map(calls)
    }
    const [some, more] = await Promise.all([4, 9].map(steps))
    const difference = (name: string) =>
      [0, 1].map((i) => ((more?.get(name)?.[i] ?? 0) - (some?.get(name)?.[i] ?? 0)) / 5)
    expect(difference('cuMemcpyHtoDAsync_v2')).toEqual([1, 2 * 9 * 8])
    expect(difference('cuMemcpyDtoHAsync_v2')).toEqual([1, 4])
    expect(difference('cuStreamSynchronize')[0]).toBe(2)
    expect(difference('cuLaunchKernel')[0]).toBeGreaterThan(50)
    // the pool keeps what is freed
    expect(difference('cuMemAllocAsync')[0]).toBeGreaterThan(50)
    expect(difference('blocks from the system')).toEqual([0, 0])
  })

  it('where() with a number copies nothing', async () => {
    const { lines, stderr } = await counted(
      `const x = randn([3], { device: 'cuda' })
       log(where(x.gt(1e9), x, -Infinity).toArray().length)`,
    )
    expect(lines).toEqual([3])
    expect(stderr).toMatch(/^emulated 1 cuMemcpyHtoDAsync_v2,/m)
  })

  it('data() lets JavaScript go on while the GPU works', async () => {
    const [[called, whole, sum]] = (await emulated(
      `const x = zeros([384, 384], { device: 'cuda' }).add(1)
       const y = x.matmul(x).matmul(x)
       const start = performance.now()
       const pending = y.data()
       const called = performance.now() - start
       const data = await pending
       log([called, performance.now() - start, data[0]])`,
      { EMULATED_CUDA_LATE: '1' },
    )) as [[number, number, number]]
    expect(sum).toBe(384 ** 2)
    expect(called).toBeLessThan(whole / 4)
  })

  it('what does not fit is refused, and what is disposed is free at once', async () => {
    const lines = await emulated(
      `const full = []
       try { for (;;) full.push(randn([2 ** 18], { device: 'cuda' })) }
       catch ({ code, message }) { log([code, message, full.length]) }
       full.pop().dispose()
       log(randn([2 ** 18], { device: 'cuda' }).shape)`,
      { EMULATED_CUDA_MEMORY: `${4 * 2 ** 20 + 1}` },
    )
    const text = expect.stringMatching(/needs 1 MiB, and 1 MiB are available on cuda:0/)
    expect(lines[0]).toEqual(['out_of_memory', text, 4])
    expect(lines[1]).toEqual([2 ** 18])
  })

  it('large arrays are checked, and what the pool keeps is given to others', async () => {
    const lines = await emulated(
      `const make = (megabytes) => zeros([megabytes * 2 ** 18], { device: 'cuda' })
       const x = make(64)
       log(await caught(() => make(64)))
       x.dispose()
       // neither fits beside the 64 MiB that the pool keeps
       make(80).dispose()
       log(make(10).shape)
       log(await caught(() => make(101)))`,
      { EMULATED_CUDA_MEMORY: `${100 * 2 ** 20}` },
    )
    const refused = (message: RegExp) => ['out_of_memory', expect.stringMatching(message)]
    expect(lines).toEqual([
      refused(/needs 64 MiB, and 36 MiB are available on cuda:0/),
      [10 * 2 ** 18],
      refused(/needs 101 MiB, and 90 MiB are available on cuda:0/),
    ])
  })

  it('a model that does not fit stays where it is, as a whole', async () => {
    const lines = await emulated(
      `${MODEL}
       await model.forward(batch)
       log(await caught(() => model.cuda()))
       log([...new Set(model.parameters().map(({ device }) => device))])
       log([memory().gpu_bytes, (await model.forward(batch)).shape])`,
      { EMULATED_CUDA_MEMORY: '20000' },
    )
    expect(lines).toEqual([
      ['out_of_memory', expect.stringContaining('on cuda:0')],
      ['cpu'],
      [0, []],
    ])
  })

  it('memory() counts its arrays, which dispose frees at once', async () => {
    const lines = await emulated(`
      const bytes = () => memory().gpu_bytes
      log(bytes())
      const x = zeros([1000], { device: 'cuda' })
      log(bytes())
      x.dispose()
      log(bytes())
      ${MODEL}
      model.cuda()
      const optimizer = new AdamW(model.parameters())
      const sizes = []
      for (let i = 0; i < 5; i++) {
        const ids = batch.to('cuda')
        const loss = await model.forward(ids)
        await loss.backward()
        await clipGradNorm(model.parameters(), 1)
        await optimizer.step()
        optimizer.zeroGrad()
        loss.dispose()
        ids.dispose()
        sizes.push(bytes())
      }
      log(sizes.slice(2).every((size) => size === sizes[1]))
      optimizer.dispose()
      model.dispose()
      log(bytes())`)
    expect(lines).toEqual([0, 4000, 0, true, 0])
  })

  it('tensors that are not disposed of are collected before its memory is full', async () => {
    const [count] = await emulated(
      `for (let i = 0; i < 400; i++) {
         zeros([2 ** 18], { device: 'cuda' })
         await new Promise((resolve) => setImmediate(resolve))
       }
       log(memory().gpu_bytes / 2 ** 20)`,
      { EMULATED_CUDA_MEMORY: `${64 * 2 ** 20}` },
    )
    expect(count).toBeLessThan(64)
  })
})
