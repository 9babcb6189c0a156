// The tests of TypeScript: how they are run, and what they report.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bin, run } from './lib.mjs'
import { colours } from './rust.mjs'

/** The tests of TypeScript in one of the projects of vitest.config.ts; `which` are some of them. */
export async function vitest(project, env = {}, which = []) {
  const folder = mkdtempSync(join(tmpdir(), 'x-transformers-'))
  const file = join(folder, 'vitest.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const { code } = await run(
      process.execPath,
      [bin('vitest'), 'run', `--project=${project}`, ...reporters, ...which],
      { stdout: 'tee', env: { ...colours, ...env } },
    )
    const report = JSON.parse(readFileSync(file, 'utf8'))
    // A file that could not be loaded fails without a test of its own.
    const broken = report.testResults.filter(
      (r) => r.status === 'failed' && !r.assertionResults.some((t) => t.status === 'failed'),
    )
    const failures = [
      ...broken.map((file) => `${file.name}\n${file.message}`),
      ...report.testResults.flatMap((file) =>
        file.assertionResults
          .filter((test) => test.status === 'failed')
          .map((test) => `${file.name} > ${test.fullName}\n${test.failureMessages.join('\n')}`),
      ),
    ]
    if (code !== 0 && !failures.length) failures.push(`vitest ended with exit code ${code}`)
    return {
      passed: report.numPassedTests,
      failed: failures.length,
      skipped: report.numPendingTests + report.numTodoTests,
      failures,
    }
  } catch (error) {
    const failures = [`vitest left no report: ${error.message}`]
    return { passed: 0, failed: 1, skipped: 0, failures }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
