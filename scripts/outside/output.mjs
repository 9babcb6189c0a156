// What the programs of examples/ must have written.
import { must } from './sample.mjs'

/** The loss has fallen: `loss 5.545` and the like. */
export function learns(output) {
  const losses = [...output.matchAll(/loss (\d+\.\d+)/g)].map(([, loss]) => Number(loss))
  const [first, last] = [losses[0], losses.at(-1)]
  must(losses.length > 1 && last < first - 1.5, `The loss has not fallen:\n${output}`)
}

/** Text of at least so many characters. Of bytes drawn at random, a quarter would be letters. */
export function isText(text = '', length) {
  const letters = text.match(/[a-z ]/gi)?.length ?? 0
  const good = text.length >= length && letters > 0.8 * text.length
  must(good, `Text of ${length} characters was wanted, got: ${JSON.stringify(text)}`)
}

/** The pieces in which a response comes: how many, the time between first and last, the text. */
export async function chunksOf(response) {
  must(response.ok, `The answer is ${response.status}: ${response.ok || (await response.text())}`)
  const decoder = new TextDecoder()
  const times = []
  let text = ''
  for await (const piece of response.body) {
    times.push(performance.now())
    text += decoder.decode(piece, { stream: true })
  }
  return { count: times.length, spread: times.at(-1) - times[0], text }
}
