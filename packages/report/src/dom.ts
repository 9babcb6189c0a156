/** Elements; text goes in as text, whatever it consists of. */

type Child = Node | string | null

/** What an element is made with: properties, and functions for events. */
type Properties<Tag extends keyof HTMLElementTagNameMap> = Partial<
  Omit<HTMLElementTagNameMap[Tag], 'style' | 'children'>
> & { style?: string; data?: Record<string, string>; label?: string }

export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { style, data, label, ...properties }: Properties<Tag> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag)
  Object.assign(element, properties)
  if (style) element.setAttribute('style', style)
  if (label) element.setAttribute('aria-label', label)
  Object.assign(element.dataset, data)
  element.append(...children.filter((child) => child !== null))
  return element
}

/** Buttons of which one is pressed. */
export function choice<T extends string>(
  label: string,
  names: readonly T[],
  chosen: T,
  choose: (name: T) => void,
): HTMLElement {
  const buttons = names.map((name) => {
    const onclick = () => {
      for (const button of buttons) button.ariaPressed = String(button.textContent === name)
      choose(name)
    }
    return el('button', { type: 'button', ariaPressed: String(name === chosen), onclick }, name)
  })
  return el('div', { className: 'choice', role: 'group', label }, ...buttons)
}

/** A list of which one is chosen; nothing where there is one alone. */
export function select(
  label: string,
  names: readonly string[],
  choose: (index: number) => void,
): HTMLElement {
  const options = names.map((name, i) => el('option', { value: String(i) }, name))
  const list = el('select', {}, ...options)
  list.onchange = () => choose(Number(list.value))
  return el('label', { className: 'select', hidden: names.length < 2 }, `${label} `, list)
}

export interface Range {
  min: number
  max: number
  step: number
  value: number
}

/** A slider, whose value stands beside it. */
export function slider(
  label: string,
  range: Range,
  text: (value: number) => string,
  change: (value: number) => void,
): HTMLElement {
  const output = el('output', {}, text(range.value))
  const input = el('input', { type: 'range' })
  // in this order: a value outside of the range would be moved into it
  for (const name of ['min', 'max', 'step', 'value'] as const) input[name] = String(range[name])
  input.oninput = () => {
    output.textContent = text(Number(input.value))
    change(Number(input.value))
  }
  return el('label', { className: 'slider' }, `${label} `, input, output)
}

/** A part of the page with a title, and what belongs beside the title. */
export function section(title: string, tools: readonly Child[], ...content: readonly Child[]) {
  const id = title.toLowerCase().replace(/\W+/g, '-')
  const head = el('header', {}, el('h2', {}, title), el('div', { className: 'tools' }, ...tools))
  return el('section', { id }, head, ...content)
}

/** A box beside the pointer. */
export class Tip {
  readonly #box = el('div', { className: 'tip', hidden: true, role: 'status' })

  constructor() {
    document.body.append(this.#box)
  }

  show(x: number, y: number, lines: readonly Child[]): void {
    this.#box.replaceChildren(...lines.filter((line) => line !== null))
    this.#box.hidden = false
    const { offsetWidth: width, offsetHeight: height } = this.#box
    const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14
    const top = Math.min(y + 14, innerHeight - height - 4)
    this.#box.style.left = `${Math.max(4, left)}px`
    this.#box.style.top = `${Math.max(4, top)}px`
  }

  hide(): void {
    this.#box.hidden = true
  }
}
