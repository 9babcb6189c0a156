// What the CUDA driver that runs on the CPU finds: each test breaks a kernel, or a program.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildDriver, canEmulate, emulatedDriver } from '../../scripts/cuda/emulator.mjs'
import { slow } from '../slow.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const kernels = join(root, 'crates/kernels/src')
const execute = promisify(execFile)

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A driver whose only kernels are sums, in which `from` was replaced by `to` in one file. */
async function broken(name: string, file: string, from: string, to: string): Promise<string> {
  const own = mkdtempSync(join(folder, `${name}-`))
  const source = readFileSync(join(kernels, file), 'utf8')
  expect(source).toContain(from)
  const changed = join(own, file.split('/').at(-1) as string)
  writeFileSync(changed, source.replaceAll(from, to))
  const sums = file.endsWith('.cu') ? changed : join(kernels, 'ops/reduce/reduce.cu')
  await buildDriver(join(own, 'libcuda.so.1'), [sums], { headers: [own] })
  return own
}

/** Sums 5,000 ones on the GPU of a driver; the sum, and what the driver has printed. */
async function sum(
  driver: string,
  seed: number,
  more: Record<string, string> = {},
): Promise<{ value: string; printed: string }> {
  const program = `
    import { tensor } from 'x-transformers'
    try {
      console.log(tensor(new Float32Array(5000).fill(1)).to('cuda').sum().item())
    } catch ({ message }) {
      console.log(message)
    }`
  const { stdout, stderr } = await execute(
    process.execPath,
    ['--input-type=module', '-e', program],
    {
      cwd: root,
      env: { ...process.env, LD_LIBRARY_PATH: driver, EMULATED_CUDA_SEED: `${seed}`, ...more },
    },
  )
  return { value: stdout.trim(), printed: stderr }
}

/** Builds a C++ program with a `stream` and 4 bytes of `memory` on the GPU; gives what runs it. */
async function program(name: string, body: string) {
  const driver = await emulatedDriver()
  const source = join(folder, `${name}.cpp`)
  writeFileSync(
    source,
    `#include <cstdio>
    extern "C" {
      int cuInit(unsigned); int cuDevicePrimaryCtxRetain(void**, int); int cuCtxSetCurrent(void*);
      int cuStreamCreate(void**, unsigned); int cuStreamSynchronize(void*);
      int cuMemAllocAsync(unsigned long long*, size_t, void*);
      int cuMemcpyHtoDAsync_v2(unsigned long long, const void*, size_t, void*);
      int cuMemcpyDtoHAsync_v2(void*, unsigned long long, size_t, void*);
    }
    int main() {
      void *context, *other, *stream; unsigned long long memory;
      cuInit(0); cuDevicePrimaryCtxRetain(&context, 0); cuCtxSetCurrent(context);
      cuStreamCreate(&stream, 1); cuMemAllocAsync(&memory, 4, stream);
      ${body}
    }`,
  )
  const file = join(folder, name)
  await execute('c++', [source, '-o', file, join(driver, 'libcuda.so.1')])
  return (env: Record<string, string>) =>
    execute(file, { env: { ...process.env, LD_LIBRARY_PATH: driver, ...env } })
}

const withDriver = describe.skipIf(!canEmulate)

withDriver(
  'the emulated driver',
  () => {
    slow.it('finds a missing barrier', async () => {
      expect((await sum(await emulatedDriver(), 0)).value).toBe('5000')
      const wrong = await broken('barrier', 'cuda/include/rows.cuh', '__syncthreads();', ';')
      const seeds = [0, 1, 2, 3]
      const sums = await Promise.all(seeds.map((seed) => sum(wrong, seed)))
      // they give numbers, and not all of them the right one
      expect(sums.map(({ value }) => value).join(' ')).toMatch(/^[-\d.e+ NaN]+$/)
      expect(sums.map(({ value }) => value)).not.toEqual(seeds.map(() => '5000'))
    })

    it('finds an argument of another size', async () => {
      const wrong = await broken('size', 'ops/reduce/reduce.cu', 'chunks;\n', 'chunks, more;\n')
      const { value, printed } = await sum(wrong, 0)
      expect(printed).toMatch(/the argument of sum_rows_f32 has 56 bytes in PTX, 64 in C\+\+/)
      expect(value).toMatch(/there is no kernel sum_rows_f32/)
    })

    slow.it('finds a thread that waits for ever, and lanes that do not meet', async () => {
      const alone = await broken(
        'alone',
        'cuda/include/rows.cuh',
        '  x = f(x, __shfl_xor_sync(0xffffffffu, x, distance));',
        '  if (threadIdx.x) x = f(x, __shfl_xor_sync(0xffffffffu, x, distance));',
      )
      expect((await sum(alone, 0)).printed).toMatch(/deadlock|lanes of one warp meet/)
    })

    it('finds a missing synchronisation where calls are late', async () => {
      const run = await program(
        'late',
        `int in = 7, out = -1;
        cuMemcpyHtoDAsync_v2(memory, &in, 4, stream);
        in = 8; // too early: it may not have been read yet
        cuMemcpyDtoHAsync_v2(&out, memory, 4, stream);
        printf("%d ", out);
        cuStreamSynchronize(stream);
        printf("%d", out);`,
      )
      expect((await run({ EMULATED_CUDA_LATE: '1' })).stdout).toBe('-1 8')
      expect((await run({})).stdout).toBe('7 7')
    })

    it('finds that the library waits for its copies', async () => {
      const driver = await emulatedDriver()
      expect((await sum(driver, 0, { EMULATED_CUDA_LATE: '1' })).value).toBe('5000')
      // as if the library did not call cuStreamSynchronize
      expect((await sum(driver, 0, { EMULATED_CUDA_LATE: '2' })).value).not.toBe('5000')
    })

    it('finds a call without the context of its stream, and memory of another device', async () => {
      const run = await program(
        'contexts',
        `int in = 7;
        printf("%d ", cuMemcpyHtoDAsync_v2(memory, &in, 4, stream));
        cuCtxSetCurrent(nullptr);
        printf("%d ", cuMemcpyHtoDAsync_v2(memory, &in, 4, stream));
        cuDevicePrimaryCtxRetain(&other, 1); cuCtxSetCurrent(other);
        printf("%d ", cuMemcpyHtoDAsync_v2(memory, &in, 4, stream));
        cuStreamCreate(&stream, 1);
        printf("%d ", cuMemcpyHtoDAsync_v2(memory, &in, 4, stream));
        printf("%d", cuMemcpyHtoDAsync_v2(memory, &in, 4, nullptr));`,
      )
      // CUDA_ERROR_INVALID_CONTEXT twice, INVALID_VALUE, INVALID_HANDLE
      expect((await run({ EMULATED_CUDA_DEVICES: '2' })).stdout).toBe('0 201 201 1 400')
    })

    it('finds a host that touches memory of the device, where that is protected', async () => {
      const run = await program(
        'protected',
        `int in = 7, out = -1;
        cuMemcpyHtoDAsync_v2(memory, &in, 4, stream);
        cuMemcpyDtoHAsync_v2(&out, memory, 4, stream);
        printf("%d ", out);
        fflush(stdout);
        printf("%d", *reinterpret_cast<int*>(memory));`,
      )
      expect((await run({})).stdout).toBe('7 7')
      await expect(run({ EMULATED_CUDA_PROTECT: '1' })).rejects.toMatchObject({
        signal: 'SIGSEGV',
        stdout: '7 ',
        stderr: 'emulated: the host, or another device, touches memory of a device\n',
      })
    })
  },
  120_000,
)
