// examples/wandb-logger, with a server on this machine that answers as Weights & Biases does.
import { createServer } from 'node:http'
import { must, same } from '../sample.mjs'

/** Answers to its questions about users and runs. */
function answer({ query, variables }) {
  if (query.includes('viewer')) return { viewer: { id: '1', entity: 'someone' } }
  return { upsertBucket: { bucket: { ...variables, id: '2' }, inserted: true } }
}

async function bodyOf(request) {
  let text = ''
  for await (const piece of request) text += piece
  return JSON.parse(text)
}

export async function wandbLogger(project) {
  const history = []
  let config = null
  let exit_code = null
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    config ??= body.variables?.config ?? null
    const lines = body.files?.['wandb-history.jsonl']?.content ?? []
    history.push(...lines.map((line) => JSON.parse(line)))
    if (body.complete) exit_code = body.exitcode
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/graphql' ? { data: answer(body) } : {}))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await project.copy('examples/wandb-logger').run('npm install')
    const env = {
      WANDB_BASE_URL: `http://127.0.0.1:${server.address().port}`,
      WANDB_API_KEY: 'k'.repeat(40),
    }
    must((await project.run('npm start', { env })).includes('100 steps, loss '), 'It has no end.')
  } finally {
    server.close()
  }
  const steps = history.map(({ _step }) => _step)
  same(steps.join(), Array.from({ length: 100 }, (_, i) => i + 1).join(), 'the steps')
  const [first, last] = [history[0], history.at(-1)]
  must(last.loss < first.loss - 1, `The loss is ${first.loss} and then ${last.loss}.`)
  must(last['grad_norms/net.token_emb'] > 0, 'There are no norms by layer.')
  same(JSON.parse(config).optimizer.class, 'AdamW', 'the optimizer')
  same(exit_code, 0, 'the exit code')
}
