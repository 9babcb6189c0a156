/**
 * How often the parameters of a model have changed in number: models keep what the native side
 * tells of them until then. One number for all, since a model is part of others.
 */
export const structure = { version: 0 }
