// One Xen host for all lab tests: they run one after the other (jest -i) and find it by this variable.
import { LabHost } from './host/lab-host.mjs';

export default async function bootLab() {
  const host = await LabHost.boot();
  host.hangUp();
  process.env.XLSNAP_LAB = JSON.stringify(host.place);
  globalThis.xlsnapLabHost = host;
}
