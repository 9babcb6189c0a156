// The window: a prompt, and the text that the main process sends.
function connect({ writer }) {
  const element = (id) => document.getElementById(id)
  const [prompt, write, stop] = ['prompt', 'write', 'stop'].map(element)
  const [status, text] = ['status', 'text'].map(element)

  writer.onStatus((message) => {
    status.textContent = message
  })
  writer.onText((piece) => text.append(piece))

  write.addEventListener('click', async () => {
    text.textContent = prompt.value
    await writer.write(prompt.value)
  })
  stop.addEventListener('click', () => writer.stop())

  writer.ready().then((target) => {
    status.textContent = `Ready (${target})`
    write.disabled = false
  })
}

connect(window)
