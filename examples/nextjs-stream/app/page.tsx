'use client'

import { useRef, useState } from 'react'

/** Asks for text, shows it as it comes, and lets the reader stop it. */
export default function Page() {
  const [prompt, setPrompt] = useState('Call me ')
  const [text, setText] = useState('')
  const running = useRef<AbortController>(null)

  async function write() {
    running.current?.abort()
    const controller = new AbortController()
    running.current = controller
    const { signal } = controller
    setText(prompt)
    try {
      const response = await fetch('/api/stream', { method: 'POST', body: prompt, signal })
      const pieces = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      for (let next = await pieces?.read(); next && !next.done; next = await pieces?.read()) {
        const piece = next.value
        setText((before) => before + piece)
      }
    } catch (error) {
      if (!signal.aborted) setText(String(error))
    }
  }

  return (
    <main>
      <input
        aria-label="Beginning of the text"
        value={prompt}
        onChange={({ target }) => setPrompt(target.value)}
      />
      <button type="button" onClick={write}>
        Write
      </button>
      <button type="button" onClick={() => running.current?.abort()}>
        Stop
      </button>
      <pre style={{ whiteSpace: 'pre-wrap' }}>{text}</pre>
    </main>
  )
}
