/** Boots an emulated machine (QEMU without KVM) and returns what its console said. */
import { spawn } from 'node:child_process';
import type { Machine } from './image.ts';

/** Ends by itself when the guest powers off; rejects after `timeoutMs`. */
export function boot(machine: Machine, timeoutMs: number): Promise<string> {
  const args = [
    '-accel',
    // One thread for both processors: with one each, V8 in the guest now and then finds its table of compiled code torn.
    'tcg,thread=single',
    '-cpu',
    'max',
    '-smp',
    '2',
    '-m',
    '2048',
    '-nographic',
    '-no-reboot',
  ];
  args.push('-kernel', machine.kernel);
  args.push(
    '-drive',
    `file=${machine.disk},if=none,id=disk,format=raw,snapshot=on`,
    '-device',
    'nvme,drive=disk,serial=culvert',
  );
  args.push('-append', 'console=ttyS0 root=/dev/nvme0n1 rw init=/init quiet panic=1 mitigations=off');
  return new Promise((resolve, reject) => {
    const emulator = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const end = (): void => void emulator.kill('SIGKILL');
    process.once('exit', end);
    let output = '';
    emulator.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    emulator.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    const timer = setTimeout(() => {
      emulator.kill('SIGKILL');
      reject(
        new Error(
          `the machine did not end within ${timeoutMs} ms; its console ends in:\n${output.slice(-3000)}`,
        ),
      );
    }, timeoutMs);
    emulator.once('error', reject);
    emulator.once('close', () => {
      clearTimeout(timer);
      process.off('exit', end);
      resolve(output);
    });
  });
}
