// For browsers: what imports this starts once WebAssembly is there.
import { init } from '#native'

await init()
