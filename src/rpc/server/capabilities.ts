/** Announces snapshots in the capabilities of a host: management software reads there which features it may offer. */

/** The feature of disk snapshots: always on, and it cannot be switched off (capability.rng). */
export const DISK_SNAPSHOT = `<disksnapshot default='on' toggle='no'/>`;

const GUEST = /<guest>.*?<\/guest>/gs;

/** Adds the feature to every guest of virConnectGetCapabilities' document that lacks it. All other bytes stay. */
export function announceSnapshots(capabilities: string): string {
  return capabilities.replace(GUEST, (guest) => (guest.includes('<disksnapshot') ? guest : withFeature(guest)));
}

/** libvirt indents by two: `features` by four, its children by six. */
function withFeature(guest: string): string {
  const feature = `      ${DISK_SNAPSHOT}\n`;
  if (guest.includes('<features/>')) return guest.replace('<features/>', `<features>\n${feature}    </features>`);
  if (guest.includes('</features>')) return guest.replace('    </features>', `${feature}    </features>`);
  return guest.replace('  </guest>', `    <features>\n${feature}    </features>\n  </guest>`);
}
