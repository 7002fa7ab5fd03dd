import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { snapshotPicture } from '../../../../src/cli/tree/picture.ts';
import { fitted, textWidth } from '../../../../src/cli/tree/picture-elements.ts';
import { STYLE } from '../../../../src/cli/tree/picture-style.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';
import { diskOf, domainOf, factsOf, qcow2 } from '../../../support/snapshot-facts.ts';

const BASE = '/srv/base.qcow2';
const OVER = '/srv/base.s2';

const facts = domainOf(
  [
    factsOf('s1', { disks: [diskOf('xvda', BASE)] }),
    factsOf('s2 <&"', { parent: 's1', kind: 'external', current: true, disks: [diskOf('xvda', BASE, OVER)] }),
  ],
  { xvda: qcow2(OVER) },
);
const sizes = { virtualBytes: 1 << 30, allocatedBytes: 3 << 20, snapshots: [], bitmaps: [] };
const disks = [
  {
    target: 'xvda',
    active: OVER,
    images: [
      { ...qcow2(BASE), info: { ...qcow2(BASE), ...sizes }, begun: 0n },
      { ...qcow2(OVER), info: { ...qcow2(OVER), ...sizes, backing: qcow2(BASE) }, begun: 100n },
      { ...qcow2('/srv/gone'), problem: 'No such file', begun: 0n },
    ],
  },
];
const svg = snapshotPicture(facts, disks);

test('is well-formed for another parser, and free of scripts and of anything to load', async () => {
  await using folder = await scratchFolder();
  const file = join(folder.path, 'a.svg');
  await writeFile(file, svg);
  await promisify(execFile)('xmllint', ['--noout', file]);
  expect(svg).not.toMatch(/<script|<image|<use|<foreignObject|@import|url\(|\son\w+=|href/);
});

test('says all of it in words for those who do not see it', () => {
  expect(svg).toContain("role='img' aria-labelledby='title desc'");
  expect(svg).toContain("<title id='title'>Snapshots of domain vm</title>");
  expect(svg).toContain(
    'Domain vm is running and has 2 snapshots. s1: internal, running, taken 1970-01-01 00:01. ' +
      's2 &lt;&amp;&quot;: external, running, child of s1, taken 1970-01-01 00:01, the current one. ' +
      'Disk xvda is written to /srv/base.s2.',
  );
});

test('marks what each image is to each snapshot, and what the domain writes to now', () => {
  const marks = [...svg.matchAll(/<g class='mark (\w+)'>\s*<title>(.*?): /g)].map(
    ([, kind, name]) => `${name} ${kind}`,
  );
  expect(marks).toEqual(['s1 inside', 's2 &lt;&amp;&quot; frozen', 's2 &lt;&amp;&quot; begins', 'now writes']);
  expect(svg).toContain('/srv/base.s2: qcow2, 3.00 MiB, on base.qcow2</title>');
  expect(svg).toContain('/srv/gone: qcow2, cannot be read (No such file)</title>');
});

test('a domain without snapshots has a picture, too', () => {
  expect(snapshotPicture(domainOf([]), [])).toContain('Domain vm is running and has 0 snapshots.');
});

test('texts that are too long lose their middle, and fit then', () => {
  const name = 'a-rather-long-name-of-a-snapshot';
  expect(fitted(name, 'name', 1000)).toBe(name);
  for (const width of [40, 80, 120]) {
    const shown = fitted(name, 'name', width);
    expect(textWidth(shown, 'name')).toBeLessThanOrEqual(width);
    expect(shown).toMatch(/^a.*…/);
  }
});

describe('contrast of text, WCAG 2.1 AA', () => {
  const luminance = (colour: string): number => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5]
      .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string): number => {
    const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const schemes = [...STYLE.matchAll(/svg \{([^}]*)\}/g)].map(
    ([, body = '']) =>
      new Map([...body.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value])),
  );

  test.each(['light', 'dark'].map((name, at) => [name, schemes[at]] as const))('%s', (_, colours) => {
    const pairs = [
      ...['ink', 'soft'].flatMap((text) => ['paper', 'band', 'card'].map((ground) => [text, ground])),
      ...[
        ['ink', 'pill'],
        ['accent-ink', 'accent'],
        ['bad', 'card'],
      ],
    ];
    const poor = pairs.filter(
      ([text = '', ground = '']) => contrast(colours?.get(text) ?? '', colours?.get(ground) ?? '') < 4.5,
    );
    expect(colours?.size).toBeGreaterThan(10);
    expect(poor).toEqual([]);
  });
});
