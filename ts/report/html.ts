import type { ReportData } from './data.js'
import { NOTICE, SCRIPT, STYLE } from './page.gen.js'

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

const escaped = (text: string) => text.replace(/[&<>"]/g, (found) => ESCAPES[found] as string)

/** JSON that no parser of HTML takes for the end of its element. */
const embedded = (data: ReportData) => JSON.stringify(data).replaceAll('<', '\\u003c')

/** The whole page: it asks for nothing, and its policy forbids that anything is asked for. */
export const pageOf = (data: ReportData): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escaped(data.title)}</title>
<!--
${NOTICE}
-->
<style>
${STYLE}
</style>
</head>
<body>
<main id="report"></main>
<noscript>This report is drawn by the script in it: allow scripts for this file.</noscript>
<script type="application/json" id="data">${embedded(data)}</script>
<script>
${SCRIPT}
</script>
</body>
</html>
`
