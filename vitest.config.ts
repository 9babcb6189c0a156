import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  // Tests run the TypeScript sources, on the addon that `npm run build:addon` made.
  resolve: {
    alias: [
      { find: /^x-transformers$/, replacement: file('./ts/index.ts') },
      { find: /^#native$/, replacement: file('./ts/native.node.ts') },
    ],
  },
  test: {
    // One project per runtime.
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          exclude: ['test/browser/**'],
          pool: 'forks',
          execArgv: ['--expose-gc'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
