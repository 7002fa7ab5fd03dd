/** Results of several fields, as remote_protocol.x declares them. */

import { int, list, string, struct, uhyper, uint } from './codec.ts';

/** REMOTE_DOMAIN_FSINFO_MAX, REMOTE_DOMAIN_FSINFO_DISKS_MAX. */
const FSINFO_MAX = 256;

/** remote_domain_get_job_info_ret. */
export const jobInfo = struct({
  type: int,
  timeElapsed: uhyper,
  timeRemaining: uhyper,
  dataTotal: uhyper,
  dataProcessed: uhyper,
  dataRemaining: uhyper,
  memTotal: uhyper,
  memProcessed: uhyper,
  memRemaining: uhyper,
  fileTotal: uhyper,
  fileProcessed: uhyper,
  fileRemaining: uhyper,
});

const fileSystem = struct({
  mountpoint: string,
  name: string,
  fstype: string,
  devAliases: list(string, FSINFO_MAX),
});

/** remote_domain_get_fsinfo_ret. */
export const fileSystems = struct({ info: list(fileSystem, FSINFO_MAX), ret: uint });
