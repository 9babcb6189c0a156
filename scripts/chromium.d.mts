export declare const FLAGS: string[]
export declare function ensureChromium(): Promise<string>
