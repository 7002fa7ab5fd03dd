import type { CommandOptions, CommandResult, Dom0, LabPlace } from './dom0.mjs';

/** A real Xen host under QEMU. Disposing of it powers it off. */
export declare class LabHost implements AsyncDisposable {
  static boot(): Promise<LabHost>;
  readonly place: LabPlace;
  readonly folder: string;
  readonly dom0: Dom0;
  run(script: string, options?: CommandOptions): Promise<CommandResult>;
  hangUp(): void;
  [Symbol.asyncDispose](): Promise<void>;
}
