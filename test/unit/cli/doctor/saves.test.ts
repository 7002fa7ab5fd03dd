import { expect, test } from '@jest/globals';
import { saveFindings } from '../../../../src/cli/doctor/saves.ts';
import { LibvirtError } from '../../../../src/errors.ts';

const uuid = '11111111-1111-1111-1111-111111111111';
const SAVE = { domain: { name: 'g', uuid, id: 4 }, path: '/s/g.save', managed: false, moves: [], sameBoot: true };

test('a save that was interrupted, and a record that cannot be read, are problems; one under way is none', () => {
  expect(saveFindings([SAVE], new Set([uuid]))).toMatchObject([{ level: 'note' }]);
  expect(saveFindings([SAVE], new Set())).toEqual([
    {
      level: 'problem',
      problem: "save of domain 'g' to '/s/g.save' was interrupted: what there is of it is in '/s/g.save.partial'",
      wayOut: 'systemctl restart xlsnapd: it completes the save or removes what is left, and its log says which',
    },
  ]);
  const error = new LibvirtError('INTERNAL_ERROR', "'/b/1.json' was written by a newer xlsnap");
  expect(saveFindings([{ uuid, error }], new Set())).toMatchObject([{ level: 'problem', problem: error.detail }]);
});
