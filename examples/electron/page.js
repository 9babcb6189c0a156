// The window: a prompt, and the text that the main process sends.
const { writer } = window
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

const target = await writer.ready()
status.textContent = `Ready (${target})`
write.disabled = false
