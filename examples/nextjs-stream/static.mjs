// Files for browsers, which Next.js leaves to other servers, go to the standalone server.
import { cpSync } from 'node:fs'

cpSync('.next/static', '.next/standalone/.next/static', { recursive: true })
