import { expect, test } from '@jest/globals';
import { unsettledFindings } from '../../../../src/cli/doctor/block-jobs.ts';
import type { DomainFacts } from '../../../../src/cli/storage/domain-facts.ts';
import { LibvirtError } from '../../../../src/errors.ts';

const uuid = '11111111-1111-1111-1111-111111111111';
const RECORD = {
  domain: { name: 'g', uuid, id: 4 },
  jobs: [{ kind: 'pull', disk: 'xvda', active: { path: '/g.b1', format: 'qcow2' }, between: [] }],
} as const;
const domains = (id: number) => [{ domain: { name: 'g', uuid, id } }] as unknown as readonly DomainFacts[];

test('a block job of a guest that has ended, and a record that cannot be read, are problems; one that runs is none', () => {
  expect(unsettledFindings([RECORD], domains(4))).toEqual([]);
  for (const known of [domains(-1), []]) {
    expect(unsettledFindings([RECORD], known)).toEqual([
      {
        level: 'problem',
        problem: "domain 'g' has ended with a block job on disk 'xvda', which is not settled",
        wayOut: 'its log says what decides it: journalctl -u xlsnapd -g pivoted; then: systemctl restart xlsnapd',
      },
    ]);
  }
  const error = new LibvirtError('INTERNAL_ERROR', "'/b/1.json' was written by a newer xlsnap");
  expect(unsettledFindings([{ uuid, error }], domains(4))).toMatchObject([{ level: 'problem', problem: error.detail }]);
});
