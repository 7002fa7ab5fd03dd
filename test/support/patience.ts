/** Real clients and daemons on a machine that does much else are ten times slower than alone. */

import { jest } from '@jest/globals';

jest.setTimeout(180_000);
