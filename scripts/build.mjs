// npm run build: src to dist.

import { build } from './setup.mjs';

build();
