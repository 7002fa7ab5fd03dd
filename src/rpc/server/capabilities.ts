/** Announces snapshots in the capabilities of a host: management software reads there which features it may offer. */

/**
 * Snapshots of disks, always on, which cannot be switched off; external snapshots can be reverted to and deleted
 * (capability.rng; libvirt says the second since 9.9).
 */
export const SNAPSHOT_FEATURES = [`<disksnapshot default='on' toggle='no'/>`, '<externalSnapshot/>'] as const;

const GUEST = /<guest>.*?<\/guest>/gs;

/** Adds to every guest of virConnectGetCapabilities' document the features that it lacks. All other bytes stay. */
export function announceSnapshots(capabilities: string): string {
  return capabilities.replace(GUEST, (guest) => {
    const missing = SNAPSHOT_FEATURES.filter((feature) => !new RegExp(`${/^<\w+/.exec(feature)?.[0]}\\b`).test(guest));
    return missing.length === 0 ? guest : withFeatures(guest, missing);
  });
}

/** libvirt indents by two: `features` by four, its children by six. */
function withFeatures(guest: string, missing: readonly string[]): string {
  const features = missing.map((feature) => `      ${feature}\n`).join('');
  if (guest.includes('<features/>')) return guest.replace('<features/>', `<features>\n${features}    </features>`);
  if (guest.includes('</features>')) return guest.replace('    </features>', `${features}    </features>`);
  return guest.replace('  </guest>', `    <features>\n${features}    </features>\n  </guest>`);
}
