export default { test: { include: ['*.spec.mjs'], pool: 'threads', maxWorkers: 1 } }
