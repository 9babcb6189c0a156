/** The folder of the compiled kernels; null, with a message, where they cannot be compiled. */
export declare function compiledKernels(): Promise<string | null>

/** What a kernel uses on an architecture, such as `sm_80`. */
export interface KernelUsage {
  architecture: string
  name: string
  /** Registers of a thread. */
  registers: number
  spill_bytes: number
  shared_bytes: number
}

export declare function kernelUsage(folder: string): KernelUsage[]
