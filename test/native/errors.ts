/** What a person reads when a system call failed. */
import t from 'tap';
import { likelyFix, NativeError, tellingLines } from '../../native/errors.ts';

const failed = (code: string, text: string, syscall: string, log = '') =>
  new NativeError({ errno: 1, code, text, syscall, detail: '', log });

t.test('an error has the errno by name, the attempt and the remedy', async t => {
  const error = failed('EPERM', 'Operation not permitted', 'bpf(BPF_PROG_LOAD) connect4');
  t.match(error, {
    name: 'NativeError',
    code: 'EPERM',
    errno: 1,
    syscall: 'bpf(BPF_PROG_LOAD) connect4',
    log: null,
  });
  t.equal(error.message, 'bpf(BPF_PROG_LOAD) connect4: operation not permitted (EPERM)');
  t.match(error.fix, /CAP_BPF/);
});

t.test('a remedy belongs to the errno and the attempt', async t => {
  t.match(likelyFix('EPERM', 'bpf(BPF_OBJ_PIN) /tmp/x'), /bpffs/);
  t.match(likelyFix('EPERM', 'setns(CLONE_NEWNET)'), /CAP_SYS_ADMIN/);
  t.match(likelyFix('EINVAL', 'bpf(BPF_LINK_CREATE) getpeername4'), /too old.*5\.15/);
  t.match(likelyFix('EACCES', 'bpf(BPF_PROG_LOAD) connect4'), /verifier/);
  t.match(likelyFix('ENOMEM', 'bpf(BPF_MAP_CREATE) pods'), /RLIMIT_MEMLOCK/);
  t.match(likelyFix('ENOENT', 'open(network namespace) /run/netns/x'), /gone/);
  t.match(likelyFix('ENOENT', 'open(BPF object) /x.bpf.o'), /make build/);
  t.match(likelyFix('EMFILE', 'socket(AF_INET)'), /ulimit -n/);
  t.match(likelyFix('EADDRINUSE', 'bind 0.0.0.0:15001'), /another program/);
  t.match(likelyFix('E2BIG', 'bpf(BPF_MAP_UPDATE_ELEM)'), /full/);
  t.equal(likelyFix('EINVAL', 'close'), null);
});

t.test('of a long verifier log the message has the end, without statistics', async t => {
  const lines = Array.from({ length: 40 }, (_, i) => `${i}: (b7) r1 = ${i}`);
  const log = [
    "libbpf: prog 'x': BPF program load failed: Permission denied",
    "libbpf: prog 'x': -- BEGIN PROG LOAD LOG --",
    ...lines,
    "R0 invalid mem access 'map_value_or_null'",
    'processed 40 insns (limit 1000000) max_states_per_insn 0',
    '-- END PROG LOAD LOG --',
    "libbpf: prog 'x': failed to load: -13",
    "libbpf: failed to load object '/x.bpf.o'",
    '',
  ].join('\n');
  const error = failed('EACCES', 'Permission denied', 'bpf(BPF_PROG_LOAD) x', log);
  t.match(
    error.message,
    /: 35: .* \| 39: \(b7\) r1 = 39 \| R0 invalid mem access 'map_value_or_null' \(35 lines before\)$/,
  );
  t.equal(error.log, log, 'nothing is lost');
});

t.test('a short log is shown whole', async t => {
  t.equal(tellingLines("libbpf: map 'x': failed to create\n"), "libbpf: map 'x': failed to create");
  t.equal(tellingLines(''), '');
});
