export default {
  // a server with all that it needs in .next/standalone
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  outputFileTracingIncludes: { '/api/stream': ['./model.safetensors'] },
  // Node loads the addon, not the bundle
  serverExternalPackages: ['x-transformers'],
}
