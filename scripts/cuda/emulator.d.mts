/** The folder of the emulated driver's `libcuda.so.1`; builds it where it is missing. */
export function emulatedDriver(): Promise<string>
export declare function buildDriver(
  file: string,
  kernels: string[],
  options?: { headers?: string[]; flags?: string[] },
): Promise<void>
/** Whether this machine can run the emulated driver. */
export declare const canEmulate: boolean
