// Which atom of a product was which atom of the reactants, by what an attention map says of it.
// Source: Schwaller et al., https://doi.org/10.1126/sciadv.abe4166, with the settings of rxnmapper.

/** How much more likely neighbours of atoms that belong together belong together too. */
const NEIGHBOURS = 90

const TOKEN = /\[.+?\]|Br|Cl|>>|./g

const isAtom = (token) => /^([A-Za-z*]|\[(?!CLS|SEP))/.test(token)

/** The element of an atom, such as `C` of `[13CH3:4]` or of an aromatic `c`. */
function element(token) {
  const [, symbol] = /^\[?\d*(\*|[A-Z][a-z]?|[a-z])/.exec(token)
  return symbol[0].toUpperCase() + symbol.slice(1)
}

/** Which atoms are bound to which: a list of sets, for the tokens of a reaction. */
function bonds(tokens) {
  const neighbours = []
  const [branches, rings] = [[], new Map()]
  let last = null
  const bind = (a, b) => {
    neighbours[a].add(b)
    neighbours[b].add(a)
  }
  for (const token of tokens) {
    if (isAtom(token)) {
      neighbours.push(new Set())
      const atom = neighbours.length - 1
      if (last !== null) bind(last, atom)
      last = atom
    } else if (token === '.' || token === '>>') last = null
    else if (token === '(') branches.push(last)
    else if (token === ')') last = branches.pop()
    else if (/^\d$/.test(token)) {
      if (rings.has(token)) bind(rings.get(token), last)
      if (!rings.delete(token)) rings.set(token, last)
    }
  }
  return neighbours
}

/**
 * For each atom of the product its atom of the reactants (-1: none), and the product of all
 * probabilities.
 *
 * @param map (length, length) of the tokens
 */
export function mapAtoms(tokens, map) {
  const at = [...tokens.keys()].filter((i) => isAtom(tokens[i]))
  const count = at.filter((i) => i < tokens.indexOf('>>')).length
  const [reactants, products] = [at.slice(0, count), at.slice(count)]
  const near = bonds(tokens)
  const scores = products.map((p) =>
    reactants.map((r) => (element(tokens[p]) === element(tokens[r]) ? map[p][r] + map[r][p] : 0)),
  )
  const found = Array(products.length).fill(-1)
  let confidence = 1
  for (const _ of products) {
    const best = mostLikely(scores)
    if (best.probability < 1e-8) break
    const { p, r } = best
    found[p] = r
    confidence *= best.probability
    for (const q of near[count + p]) for (const s of near[r]) scores[q - count][s] *= NEIGHBOURS
    scores[p].fill(0)
    for (const row of scores) row[r] = 0
  }
  return { found, confidence }
}

/** The pair with the highest share of its row. */
function mostLikely(scores) {
  let best = { probability: 0 }
  for (const [p, row] of scores.entries()) {
    const sum = row.reduce((a, b) => a + b, 0)
    for (const [r, score] of row.entries())
      if (sum > 0 && score / sum > best.probability) best = { p, r, probability: score / sum }
  }
  return best
}

/** What a reaction with numbered atoms says: as `found` of `mapAtoms`. */
export function numberedAtoms(reaction) {
  const [reactants, products] = reaction.split('>>').map((side) =>
    side
      .match(TOKEN)
      .filter(isAtom)
      .map((token) => /:(\d+)\]$/.exec(token)?.[1]),
  )
  return products.map((number) => (number === undefined ? -1 : reactants.indexOf(number)))
}
