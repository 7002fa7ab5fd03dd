// The other end of xlsnapd's step reports in dom0: at the step that /run/lab/step-plan names in its first line, once, the
// bash commands in its other lines are run while the daemon waits. `at-step.mjs SOCKET`
import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const PLAN = '/run/lab/step-plan';

createServer((socket) => {
  socket.on('error', () => {});
  createInterface({ input: socket }).once('line', (line) => {
    const { phase } = JSON.parse(line);
    const [wanted, ...commands] = plan().split('\n');
    if (phase === wanted) {
      renameSync(PLAN, `${PLAN}.done`);
      spawnSync('bash', ['-c', commands.join('\n')], { stdio: 'inherit' });
    }
    socket.end();
  });
}).listen(process.argv[2]);

function plan() {
  try {
    return readFileSync(PLAN, 'utf8');
  } catch {
    return '';
  }
}
