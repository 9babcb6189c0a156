export const EXAMPLES = {}
export const ON_REQUEST = {}
