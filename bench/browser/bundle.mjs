// Makes one ES module of a page's module and the npm packages that it imports, as a user's bundler does.
import { build } from 'vite'

/** The text of the bundle. */
export async function bundle(entry) {
  const [{ output }] = await build({
    configFile: false,
    logLevel: 'error',
    build: { write: false, target: 'es2022', lib: { entry, formats: ['es'], fileName: 'bundle' } },
  })
  return output[0].code
}
