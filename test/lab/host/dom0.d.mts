/** What a command in dom0 left: its status and the very bytes it wrote. */
export interface CommandResult {
  readonly rc: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface CommandOptions {
  /** Default: 2 minutes. At the limit the command and all in its session are killed and the promise is rejected. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Told the folder in which the files stdout and stderr grow while the command runs. */
  readonly onStart?: (dir: string) => void;
}

/** Where a running host is found: `folder` is what dom0 sees as /mnt/lab, `socket` carries one connection at a time. */
export interface LabPlace {
  readonly folder: string;
  readonly socket: string;
}

export declare class Dom0 implements Disposable {
  static connect(place: LabPlace): Promise<Dom0>;
  readonly folder: string;
  run(script: string, options?: CommandOptions): Promise<CommandResult>;
  close(): void;
  [Symbol.dispose](): void;
}
