export declare const TEXT: string
export declare function screen(
  recording: string,
  columns: number,
): { text: string; fill: string }[][]
