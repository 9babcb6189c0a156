// What the page may do with the main process, and nothing else.
const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('writer', {
  ready: () => ipcRenderer.invoke('ready'),
  write: (prompt) => ipcRenderer.invoke('write', prompt),
  stop: () => ipcRenderer.invoke('stop'),
  onStatus: (listener) => ipcRenderer.on('status', (_, text) => listener(text)),
  onText: (listener) => ipcRenderer.on('text', (_, piece) => listener(piece)),
})
