// RXNMapper: attention maps of an ALBERT that was trained on chemical reactions, and the atom
// mapping that follows from one of them.
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { mapAtoms, numberedAtoms } from './atoms.mjs'
import { convertLegacy } from './packages.mjs'

const FILES = 'rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k'

/** The map that rxnmapper uses, counted from 0. */
const [LAYER, HEAD] = [10, 5]

/** (layers, heads, length, length) as nested lists. */
async function attentionMaps({ noGrad }, model, ids) {
  const embed_ids = { token_type: [ids.map(() => 0)] }
  const [, maps] = await noGrad(() => model.forward([ids], { embed_ids, return_attn: true }))
  return maps.map((map) => map.toArray()[0])
}

/**
 * The weights have PyTorch's format from before version 1.6: an error says so, and they are loaded
 * from safetensors with the same numbers.
 */
async function load({ fromHuggingFace }, folder, checks) {
  const message = await fromHuggingFace(folder).then(
    () => 'it was read',
    (error) => error.message,
  )
  checks.that(message.includes('from before version 1.6'), `pytorch_model.bin: ${message}`)
  const converted = join(folder, `model.${process.pid}.safetensors`)
  try {
    await convertLegacy(join(folder, 'pytorch_model.bin'), converted)
    return await fromHuggingFace({
      'config.json': readFileSync(join(folder, 'config.json')),
      'model.safetensors': readFileSync(converted),
    })
  } finally {
    rmSync(converted, { force: true })
  }
}

/** Attention maps are as recorded, and tell the atom mappings that rxnmapper's tests name. */
export async function checkReactions(folder, { small, published }, checks) {
  const ours = await import('x-transformers')
  const huggingface = await import('x-transformers/huggingface')
  const { model, heads } = await load(huggingface, join(folder, FILES), checks)
  checks.that(`${Object.keys(heads)}` === 'pooler,mlm', 'heads are pooler and mlm')
  const maps = await attentionMaps(ours, model, small.ids)
  const size = `${maps.length} layers and ${maps[0].length} heads`
  checks.near(maps, small.maps, 1e-5, `attention maps of ${small.reaction}, ${size}`)
  for (const { reaction, tokens, ids, mapped, confidence } of published) {
    const maps = await attentionMaps(ours, model, ids)
    const atoms = mapAtoms(tokens, maps[LAYER][HEAD])
    checks.that(
      `${atoms.found}` === `${numberedAtoms(mapped)}`,
      `atoms of ${reaction}: ${atoms.found}`,
    )
    checks.near(atoms.confidence, confidence, 1e-5, 'confidence in these atoms')
  }
  model.dispose()
}
