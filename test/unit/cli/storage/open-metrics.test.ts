import { expect, test } from '@jest/globals';
import { openMetrics } from '../../../../src/cli/storage/open-metrics.ts';

test('a gauge has its type, its unit, its help and its samples, and the text an end', () => {
  const text = openMetrics([
    { name: 'a_bytes', unit: 'bytes', help: 'Bytes.', samples: [{ labels: { domain: 'g', disk: 'xvda' }, value: 3 }] },
    { name: 'b', help: 'Others.', samples: [{ labels: { domain: 'g' }, value: 0.25 }] },
    { name: 'c', help: 'None.', samples: [] },
  ]);
  expect(text).toBe(`# TYPE a_bytes gauge
# UNIT a_bytes bytes
# HELP a_bytes Bytes.
a_bytes{domain="g",disk="xvda"} 3
# TYPE b gauge
# HELP b Others.
b{domain="g"} 0.25
# EOF
`);
});

test('no name of a domain ends its label or its line', () => {
  const text = openMetrics([{ name: 'a', help: 'A.', samples: [{ labels: { domain: 'a"} 1\n\\' }, value: 1 }] }]);
  expect(text.split('\n')[2]).toBe(String.raw`a{domain="a\"} 1\n\\"} 1`);
});
