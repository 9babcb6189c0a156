// Removes what the scripts have built (cargo's target folder stays: `cargo clean`).
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib.mjs'

for (const name of ['dist', 'pack', 'ts/wasm/pkg'])
  rmSync(join(root, name), { recursive: true, force: true })
for (const name of readdirSync(root))
  if (/^x-transformers\..*\.node(\.\w+)?$/.test(name)) rmSync(join(root, name))
