// Starts the app.
import { app } from 'electron'
import { openWindow } from './main.mjs'

app.whenReady().then(() => openWindow())
app.on('window-all-closed', () => app.quit())
