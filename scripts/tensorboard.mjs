// TensorBoard's reader of event files, for test/node/tensorboard.test.ts: fetched by pip into the
// cache, once.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cache, onPath, say } from './lib.mjs'
import { fetchWheels } from './pip.mjs'

/** What the reader needs, without the server and its gigabyte of other packages. */
const WHEELS = ['tensorboard==2.21.0', 'protobuf==7.36.2', 'numpy', 'packaging', 'absl-py']

/**
 * A Python and the folder with TensorBoard, for PYTHONPATH; null where there is no Python, or pip
 * cannot fetch it.
 */
export async function tensorboard() {
  const python = onPath('python3') ?? onPath('python')
  if (!python) return null
  const path = join(cache(), 'tensorboard', WHEELS[0].split('==')[1])
  if (existsSync(path)) return { python, path }
  say(`Fetching ${WHEELS.join(', ')} for a test (30 MB, once) ...`)
  return (await fetchWheels(python, path, WHEELS)) ? { python, path } : null
}
