/** Chat templates: the text that a conversation is for a model. */
import { checkFlag, checkList, checkOptions, describeValue, isRecord, refuse } from '../checks.js'
import { XTransformersError } from '../errors.js'

/** One turn of a conversation, as templates know it. */
export interface ChatMessage {
  /** Who speaks: `system`, `user`, `assistant`, `tool` in most templates. */
  readonly role: string
  /** What is said; some templates take parts in its place. */
  readonly content?: string | readonly object[] | null
  /** What a template knows besides, such as `tool_calls`. */
  readonly [more: string]: unknown
}

/** Options of {@link PretrainedTokenizer.applyChatTemplate}. */
export interface ChatTemplateOptions {
  /**
   * Whether the text ends with what begins an answer, so that the model writes one.
   *
   * @default false
   */
  add_generation_prompt?: boolean | undefined
  /** A template in place of that of the tokenizer, or the name of one of several. */
  chat_template?: string | undefined
  /** Functions that the model may call, as JSON schemas. */
  tools?: readonly object[] | undefined
  /** What a template knows besides: `{ enable_thinking: false }` of Qwen 3. */
  variables?: Readonly<Record<string, unknown>> | undefined
}

/** What is used of the package `@huggingface/jinja`. */
type TemplateClass = new (
  template: string,
) => {
  render(variables: Readonly<Record<string, unknown>>): string
}

async function importEngine(): Promise<TemplateClass> {
  try {
    // within `try`, so that bundlers know that it may be missing
    const { Template } = await import('@huggingface/jinja')
    return Template
  } catch (error) {
    throw new XTransformersError(
      'not_available',
      'chat templates need the package @huggingface/jinja, which could not be loaded: npm install @huggingface/jinja',
      [],
      { cause: error },
    )
  }
}

/** The templates of a configuration by name; one alone is the default. */
function templatesOf(given: unknown): ReadonlyMap<string, string> {
  const named: readonly unknown[] =
    given === undefined || given === null
      ? []
      : Array.isArray(given)
        ? given
        : [{ name: 'default', template: given }]
  return new Map(
    named.map((one): [string, string] => {
      const { name, template } = isRecord(one) ? one : {}
      if (typeof name === 'string' && typeof template === 'string') return [name, template]
      throw new XTransformersError(
        'invalid_checkpoint',
        `chat_template of this tokenizer must be a string, or an array of { name, template }, got ${describeValue(given)}`,
      )
    }),
  )
}

/** The template that is meant; as in transformers, `tool_use` where there are tools. */
function choose(given: unknown, wanted: string | undefined, tools: boolean): string {
  const templates = templatesOf(given)
  if (wanted !== undefined) return templates.get(wanted) ?? wanted
  const found = (tools ? templates.get('tool_use') : undefined) ?? templates.get('default')
  if (found !== undefined) return found
  const names = [...templates.keys()]
  throw new XTransformersError(
    'not_available',
    names.length > 0
      ? `this tokenizer has several chat templates, none of which is the default: choose one by chat_template (${names.join(', ')})`
      : 'this tokenizer has no chat template: give one as chat_template',
  )
}

function checkMessages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const list = checkList(messages, 'the messages', 'objects with role and content')
  for (const [i, message] of list.entries()) {
    if (isRecord(message) && typeof message.role === 'string') continue
    throw refuse(`message ${i}`, 'an object with a role, such as { role, content }', message)
  }
  return list
}

/** Options, checked. */
function checkChat(options: ChatTemplateOptions | undefined) {
  const names = ['add_generation_prompt', 'chat_template', 'tools', 'variables']
  const own = checkOptions(options, 'applyChatTemplate()', names)
  const { chat_template: template, tools, variables } = own
  if (template !== undefined && typeof template !== 'string')
    throw refuse('chat_template', 'a string', template)
  if (variables !== undefined && !isRecord(variables))
    throw refuse('variables', 'an object', variables)
  return {
    prompt: checkFlag(own.add_generation_prompt, 'add_generation_prompt', false),
    template,
    tools: tools === undefined ? null : checkList(tools, 'tools', 'objects'),
    variables: variables ?? {},
  }
}

/**
 * The text of a conversation.
 *
 * @param given `chat_template` of the configuration
 * @param special the special tokens, such as `bos_token`
 */
export async function renderChat(
  given: unknown,
  special: Readonly<Record<string, string>>,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions | undefined,
): Promise<string> {
  const list = checkMessages(messages)
  const { prompt, template, tools, variables } = checkChat(options)
  const text = choose(given, template, tools !== null)
  const Template = await importEngine()
  try {
    return new Template(text).render({
      ...special,
      ...variables,
      messages: list,
      add_generation_prompt: prompt,
      ...(tools !== null && { tools }),
    })
  } catch (error) {
    // also what the template itself refuses, such as two turns of one role
    throw new XTransformersError(
      'invalid_argument',
      `the chat template cannot be followed: ${(error as Error).message}`,
      [],
      { cause: error },
    )
  }
}
