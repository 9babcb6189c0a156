import { load, save, train, write, x } from './model'

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const button = (id: string) => element<HTMLButtonElement>(id)
const ACTIONS = ['train', 'write', 'save', 'load']
const PROMPT = 'Call me '

const status = element('status')
const canvas = element<HTMLCanvasElement>('loss')
const output = element('text')
const losses: number[] = []
let controller = new AbortController()

/** A curve from the left to the right edge; the upper edge is the loss of guessing any byte. */
function draw(): void {
  const context = canvas.getContext('2d')
  if (!context) return
  const highest = Math.log(256)
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.beginPath()
  for (const [i, loss] of losses.entries())
    context.lineTo((i / losses.length) * canvas.width, (1 - loss / highest) * canvas.height)
  context.stroke()
}

async function learn(): Promise<void> {
  for await (const loss of train(controller.signal)) {
    losses.push(loss)
    status.textContent = `Step ${losses.length}, loss ${loss.toFixed(3)}`
    draw()
  }
}

async function show(): Promise<void> {
  output.textContent = PROMPT
  for await (const piece of write(PROMPT, controller.signal)) output.append(piece)
}

/** One action at a time: the others wait for it to end, or to be stopped. */
function on(id: string, action: () => Promise<void>): void {
  button(id).addEventListener('click', async () => {
    controller = new AbortController()
    for (const name of ACTIONS) button(name).disabled = true
    button('stop').disabled = false
    try {
      await action()
    } catch (error) {
      if (!controller.signal.aborted) status.textContent = String(error)
    }
    for (const name of ACTIONS) button(name).disabled = false
    button('stop').disabled = true
  })
}

on('train', learn)
on('write', show)
on('save', save)
on('load', load)
button('stop').addEventListener('click', () => controller.abort())

const { threads } = await x.info()
status.textContent = `Ready, on ${threads} thread${threads === 1 ? '' : 's'}`
for (const name of ACTIONS) button(name).disabled = false
