// The tests of the project `cuda` compute on a GPU, where nothing else is said.
import { setDefaultDevice } from 'x-transformers'

setDefaultDevice('cuda')
