/** Asking libvirtd about a definition; what a real one says is in test/integration/upstream.test.ts. */

import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../../src/errors.ts';
import { refusalOf } from '../../../../../src/hosts/libvirt/resources/accepted-definition.ts';
import type { DomainRef } from '../../../../../src/model/domain.ts';
import { parseDefinition } from '../../../../../src/xml/domain/definition.ts';

const UUID = '11111111-1111-1111-1111-111111111111';
const REF: DomainRef = { name: 'x', uuid: UUID, id: -1 };

async function asked(answer: LibvirtError | DomainRef, uuid = `<uuid>${UUID}</uuid>`) {
  const steps: string[] = [];
  const upstream = {
    defineXML: async (xml: string) => {
      steps.push(/<name>(.*)<\/name>/.exec(xml)?.[1] ?? '');
      if (answer instanceof LibvirtError) throw answer;
      return answer;
    },
    undefine: async () => void steps.push('undefine'),
  };
  const definition = parseDefinition(`<domain type='xen'><name>g</name>${uuid}<memory>4096</memory></domain>`);
  return [(await refusalOf(upstream, definition))?.detail, ...steps];
}

test('under another name: a second domain of the UUID is refused, once the document is read', async () => {
  const accepted = new LibvirtError('OPERATION_FAILED', `domain 'g' is already defined with uuid ${UUID}`);
  expect(await asked(accepted)).toEqual([undefined, `xlsnap-asks-${UUID}`]);
  const refused = new LibvirtError('CONFIG_UNSUPPORTED', 'unknown on_reboot action: nonsense');
  expect(await asked(refused)).toEqual(['unknown on_reboot action: nonsense', `xlsnap-asks-${UUID}`]);
});

test('nobody can say: it is accepted', async () => {
  expect(await asked(new LibvirtError('ACCESS_DENIED', 'denied'))).toEqual([undefined, `xlsnap-asks-${UUID}`]);
});

test('nothing is left behind if the domain has gone since, and without a UUID nothing is asked', async () => {
  expect(await asked(REF)).toEqual([undefined, `xlsnap-asks-${UUID}`, 'undefine']);
  expect(await asked(REF, '')).toEqual([undefined]);
});
