/** Colours and fonts of the picture. Text has a contrast of at least 4.5 to 1 on every background, in both schemes. */

import { FONT } from './picture-elements.ts';

/** The style sheet of the picture, for light and dark. */
export const STYLE = `
svg { --paper: #ffffff; --band: #f4f6f9; --card: #ffffff; --ink: #17202b; --soft: #505c6a; --line: #8b97a5;
  --hair: #d5dbe2; --internal: #0d6b4d; --external: #1f5fbf; --disk-only: #8a5200; --offline: #5a6572;
  --accent: #9a2a6b; --accent-ink: #ffffff; --bad: #b3261e; --pill: #e8edf3; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #12171d; --band: #181f27; --card: #1e2630; --ink: #eef2f6; --soft: #aab6c3; --line: #6d7a89;
    --hair: #303a46; --internal: #5fd0a5; --external: #8ab8ff; --disk-only: #f0b35a; --offline: #a3afbc;
    --accent: #f08cc4; --accent-ink: #2a0a1c; --bad: #ff9a92; --pill: #2b3541; }
}
text { font-family: DejaVu Sans Mono, Menlo, Consolas, monospace; fill: var(--ink); }
.title { font-size: ${FONT.title}px; font-weight: 700; }
.name { font-size: ${FONT.name}px; font-weight: 600; }
.detail { font-size: ${FONT.detail}px; fill: var(--soft); }
.paper { fill: var(--paper); }
.band { fill: var(--band); }
.card { fill: var(--card); stroke: var(--hair); stroke-width: 1.5; }
path { fill: none; }
.edge { stroke: var(--line); stroke-width: 2; }
.edge.now { stroke: var(--accent); stroke-dasharray: 6 4; }
.thread { stroke: var(--line); stroke-width: 1; stroke-dasharray: 1 5; stroke-linecap: round; }
.life, .chain { stroke: var(--line); stroke-width: 1.5; }
.rule { stroke: var(--hair); stroke-width: 1; }
.internal .kind { fill: var(--internal); }
.external .kind { fill: var(--external); }
.disk-only .kind { fill: var(--disk-only); }
.offline .kind { fill: var(--offline); }
.current .card { stroke: var(--ink); stroke-width: 2.5; }
.node.now .card, .image.active .card { stroke: var(--accent); stroke-width: 2; }
.image.broken .card { stroke: var(--bad); stroke-dasharray: 4 3; }
.image.broken .detail { fill: var(--bad); }
.pill { fill: var(--pill); stroke: var(--line); stroke-width: 1; }
.mark .detail { fill: var(--ink); }
.writes .pill { fill: var(--accent); stroke: var(--accent); }
.writes .detail { fill: var(--accent-ink); font-weight: 700; }
`;
