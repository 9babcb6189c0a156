declare module 'mnist' {
  /** Of each class 0 to 9 the pixels of all its digits, 784 numbers from 0 to 1 for each. */
  const mnist: { raw: number[] }[]
  export default mnist
}
