export function buildDeb(architecture: string, into: string): Promise<string>;
