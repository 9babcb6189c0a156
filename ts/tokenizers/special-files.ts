type Json = Readonly<Record<string, unknown>>

/**
 * The content of tokenizer_config.json, with the special tokens that are only in a file of their
 * own, special_tokens_map.json, as older models have it.
 */
export function withSpecialTokens(config: Json | null, special: Json | null): Json {
  const said = Object.entries(config ?? {}).filter(([, value]) => value !== null)
  const tokens = Object.entries(special ?? {}).filter(([name]) => name.endsWith('_token'))
  return { ...config, ...Object.fromEntries(tokens), ...Object.fromEntries(said) }
}
