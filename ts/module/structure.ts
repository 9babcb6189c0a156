/**
 * Incremented when a model gains or loses parameters; cached descriptions of older versions are
 * dropped. One number for all models, since a model is part of others.
 */
export const structure = { version: 0 }
