/** What the capabilities of a host say of snapshots: management software looks there for what it may offer. */

/** Everything a snapshot of a guest's disks needs is there, and cannot be switched off (capability.rng). */
export const DISK_SNAPSHOT = `<disksnapshot default='on' toggle='no'/>`;

const GUEST = /<guest>.*?<\/guest>/gs;

/** virConnectGetCapabilities' document with the announcement in every guest that lacks it. All other bytes stay. */
export function announceSnapshots(capabilities: string): string {
  return capabilities.replace(GUEST, (guest) => (guest.includes('<disksnapshot') ? guest : withFeature(guest)));
}

/** libvirt indents by two: `features` by four, what is in it by six. */
function withFeature(guest: string): string {
  const feature = `      ${DISK_SNAPSHOT}\n`;
  if (guest.includes('<features/>')) return guest.replace('<features/>', `<features>\n${feature}    </features>`);
  if (guest.includes('</features>')) return guest.replace('    </features>', `${feature}    </features>`);
  return guest.replace('  </guest>', `    <features>\n${feature}    </features>\n  </guest>`);
}
