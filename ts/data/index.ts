/**
 * Data for training: datasets, and loaders that make batches of them.
 *
 * @packageDocumentation
 */
export { ArrayDataset, type Dataset } from './dataset.js'
