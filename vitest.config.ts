import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { ensureChromium, FLAGS } from './scripts/chromium.mjs'
import { SLOW_IN_CHROMIUM, withSlow } from './scripts/slow.mjs'
import { commands } from './test/browser/commands.js'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/**
 * Tests run the TypeScript sources, on what `npm run build:addon` and `npm run build:wasm` have
 * made.
 */
const sources = (entry: string, native: string, files: string, worker: string) => [
  { find: /^x-transformers$/, replacement: file(entry) },
  { find: /^x-transformers\/wasm$/, replacement: file('./ts/wasm.ts') },
  { find: /^x-transformers\/worker$/, replacement: file('./ts/worker.ts') },
  {
    find: /^x-transformers\/(train|data|tokenizers|report|huggingface)$/,
    replacement: file('./ts/$1/index.ts'),
  },
  { find: /^#native$/, replacement: file(native) },
  { find: /^#files$/, replacement: file(files) },
  { find: /^#worker$/, replacement: file(worker) },
]

/** The files of test/api that run on a GPU too; all that can with XT_CUDA_TESTS=all. */
const ON_CUDA = [
  ...[
    'activation-norms',
    'classes',
    'clipping',
    'concurrency',
    'decoding',
    'dispose',
    'ema',
    'empty',
  ],
  ...['encoder-decoder', 'generation', 'gradients', 'label-smoothing', 'learning-rates'],
  ...[
    'lora',
    'lora-files',
    'lora-models',
    'memory',
    'module',
    'modules',
    'muon',
    'numbers',
    'operations',
    'optimizer-state',
  ],
  ...['optimizers', 'packed', 'random', 'saved', 'tensor', 'torch-optimizers', 'train-step'],
  ...['trainer', 'trainer-checkpoints', 'trainer-loader', 'trainer-observed', 'weights'],
  ...['x-transformers-2', 'x-transformers-2-weights', 'huggingface-decoders'],
  ...['huggingface-encoders', 'huggingface-generation'],
]
const MORE_ON_CUDA = [
  ...['arguments', 'cached-generation', 'cached-streams', 'callbacks', 'checkpoint', 'clone'],
  ...['errors', 'grad-mode', 'streams'],
  ...['malformed-values', 'memories', 'non-autoregressive', 'own-sources', 'parts', 'proxies'],
  ...['realms', 'refusals', 'saved-models', 'schedule', 'score', 'score-padding', 'sources'],
  'x-transformers-2-functions',
]
const onCuda = [...ON_CUDA, ...(process.env.XT_CUDA_TESTS === 'all' ? MORE_ON_CUDA : [])]
for (const name of onCuda)
  if (!existsSync(file(`./test/api/${name}.test.ts`))) throw new Error(`There is no test ${name}.`)

const NODE = sources(
  './ts/index.ts',
  './ts/native/native.node.ts',
  './ts/io/files.node.ts',
  './ts/worker/start.node.ts',
)

// One project per runtime.
export default defineConfig(async () => ({
  test: {
    projects: [
      {
        resolve: { alias: NODE },
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          exclude: ['test/browser/**'],
          provide: { slow: withSlow },
          globalSetup: ['test/package/setup.ts'],
          pool: 'forks' as const,
          execArgv: ['--expose-gc'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      // the public API on a GPU, or on the emulated one that scripts/test.mjs provides; what is
      // left out needs the CPU (quantized weights, its memory) or too long on an emulated GPU
      {
        resolve: { alias: NODE },
        test: {
          name: 'cuda',
          include: [`test/api/{${onCuda}}.test.ts`],
          setupFiles: ['test/cuda/setup.ts'],
          provide: { slow: withSlow },
          pool: 'forks' as const,
          execArgv: ['--expose-gc'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        resolve: {
          alias: sources(
            './ts/index.browser.ts',
            './ts/native/native.browser.ts',
            './ts/io/files.browser.ts',
            './ts/worker/start.browser.ts',
          ),
        },
        // a page may share memory with workers only where these are set
        server: {
          headers: {
            'Cross-Origin-Opener-Policy': 'same-origin',
            'Cross-Origin-Embedder-Policy': 'require-corp',
          },
        },
        test: {
          name: 'browser',
          include: ['test/{api,browser,worker}/**/*.test.ts'],
          exclude: withSlow ? [] : SLOW_IN_CHROMIUM,
          provide: { slow: withSlow },
          testTimeout: 120_000,
          hookTimeout: 60_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            commands,
            provider: playwright({
              launchOptions: {
                executablePath: await ensureChromium(),
                args: [...FLAGS, '--js-flags=--expose-gc'],
              },
            }),
            instances: [{ browser: 'chromium' as const }],
          },
        },
      },
    ],
  },
}))
