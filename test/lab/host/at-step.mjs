// The other end of xlsnapd's step reports in dom0: /run/lab/step-plan has a phase and a number n in its first line; when the phase
// begins for the nth time, the bash commands in its other lines are run while the daemon waits. `at-step.mjs SOCKET`
import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const PLAN = '/run/lab/step-plan';

createServer((socket) => {
  socket.on('error', () => {});
  createInterface({ input: socket }).once('line', (line) => {
    const { phase } = JSON.parse(line);
    const [wanted, ...commands] = plan().split('\n');
    const [begun, time] = wanted.split(' ');
    if (phase === begun && Number(time) > 1) {
      writeFileSync(PLAN, [`${phase} ${Number(time) - 1}`, ...commands].join('\n'));
    } else if (phase === begun) {
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
