import { refuse } from '../checks.js'

/** Where tensors are: `cpu`, `cuda` or `cuda:0`. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`

/** Device names that the native side knows. `others`: what else can stand there. */
export function checkDevice(device: unknown, others: readonly string[] = []): Device {
  if (device === 'cuda') return 'cuda:0'
  if (typeof device === 'string' && /^(cpu|cuda:\d+)$/.test(device)) return device as Device
  const or = others.length > 0 ? `, or a type (${others.join(', ')})` : ''
  throw refuse('the device', `'cpu', 'cuda' or 'cuda:0'${or}`, device, 'invalid_tensor')
}
