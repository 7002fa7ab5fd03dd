/** Real clients, daemons and programs on a machine that does much else are ten times slower than alone. */

import { jest } from '@jest/globals';

jest.setTimeout(180_000);
