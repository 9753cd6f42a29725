/** The commands about one node: its agent, and what that one does and leaves behind. */
import { Argument, type Command, Option } from 'commander';
import { defaultPodPorts } from '../agent/config.ts';
import {
  addControlOptions,
  addLimits,
  addLogLevel,
  addSourceOptions,
  addClusterOptions,
  output,
} from './options.ts';

export function addNodeCommands(program: Command): void {
  addRun(program);

  const check = program
    .command('check')
    .description('what this machine can do for the mesh, and what to do about the rest')
    .addOption(output())
    .option('--pre', 'look at a cluster instead, before an installation')
    .option('--namespace <name>', 'with --pre: where it would be installed', 'culvert-system');
  addClusterOptions(check, 'with --pre: ')
    .option('--cgroup-root <dir>', 'cgroup v2 directory to look at')
    .option('--bpffs <dir>', 'where bpffs should be', '/sys/fs/bpf')
    .option('--admin <host:port>', 'a running agent to ask as well', '127.0.0.1:15000')
    .action(async options => {
      if (options.pre === true) await (await import('./cluster-check.ts')).checkCluster(options);
      else await (await import('./check.ts')).check(options);
    });

  const status = program
    .command('status')
    .description('what a running agent has enrolled, and what is wrong with its configuration')
    .addOption(output())
    .option('--admin <host:port>', 'administration port of the agent', '127.0.0.1:15000')
    .option('--cluster', 'of a whole cluster instead of one agent')
    .option('--namespace <name>', 'with --cluster: where it is installed', 'culvert-system');
  addClusterOptions(status, 'with --cluster: ').action(async options => {
    if (options.cluster === true) await (await import('./cluster-status.ts')).clusterStatus(options);
    else await (await import('./status.ts')).status(options);
  });

  program
    .command('serves')
    .description('whether the agent of this container serves its node; for the startup probe of its pod')
    .requiredOption('--state-dir <dir>', 'as given to run')
    .action(async options => (await import('./serves.ts')).serves(options.stateDir));

  program
    .command('detach')
    .description('take all pods of a stopped agent out of the mesh: remove what it left in the kernel')
    .requiredOption('--node <name>', 'as given to run')
    .option('--bpffs <dir>', 'as given to run', '/sys/fs/bpf')
    .option('--state-dir <dir>', 'as given to run (default: /run/culvert/<node>)')
    .option('--cni-bin-dir <dir>', 'as given to run')
    .option('--cni-conf-dir <dir>', 'as given to run')
    .action(async options => (await import('./detach.ts')).detach(options));

  addAuthority(program);
}

function addRun(program: Command): void {
  const run = program
    .command('run')
    .description('enrol the pods of one node and carry their traffic, until told to stop');
  addSourceOptions(run)
    .requiredOption('--node <name>', 'the pods whose spec.nodeName this is')
    .option('--state-dir <dir>', "the agent's own files (default: /run/culvert/<node>)")
    .option(
      '--cgroup-root <dir>',
      'cgroup v2 directory above the pods and the agent (default: the mount point)',
    )
    .option('--bpffs <dir>', 'where bpffs is, or is to be mounted', '/sys/fs/bpf')
    .option(
      '--authority <file>',
      'with --config: certificate authority, made when missing (default: <config>/.culvert/authority.pem)',
    )
    .option('--shards <n>', 'threads that carry connections (default: half the cores)')
    .option('--admin-port <n>', 'administration, loopback only', '15000')
    .option('--metrics-address <ip>', 'where Prometheus may scrape', '127.0.0.1')
    .option('--metrics-port <n>', 'Prometheus', '15020')
    .option('--ready-port <n>', 'readiness, loopback only', '15021')
    .option(
      '--outbound-port <n>',
      'inside each pod: connections of its applications',
      String(defaultPodPorts.outbound),
    )
    .option(
      '--plaintext-port <n>',
      'inside each pod: plain TCP that arrives',
      String(defaultPodPorts.plaintext),
    )
    .option('--hbone-port <n>', 'inside each pod: tunnels that arrive', String(defaultPodPorts.hbone))
    .option('--dns-port <n>', 'inside each pod: DNS', String(defaultPodPorts.dns))
    .option('--access-log <file>', 'one line per connection; - is standard output, empty is none', '-')
    .option(
      '--kernel-path <mode>',
      'between pods of this node: off, direct (the kernel connects them), join (and joins their sockets)',
      'direct',
    )
    .option(
      '--detach-on-exit',
      'leave the mesh when stopped, instead of keeping every pod in its declared mode',
    );
  addLimits(addLogLevel(run), 'docs/running.md');
  addControlOptions(run)
    .option(
      '--ca <host:port>',
      'with --control: another server of the certificate service (default: the control plane)',
    )
    .option('--ca-root <file>', 'with --ca: roots of its certificate (default: as --control-root)')
    .option('--cri-socket <path>', 'with --control: of the container runtime (default: looked for)')
    .option('--cni-bin-dir <dir>', 'with --control: where the CNI plugin is to be put')
    .option('--cni-conf-dir <dir>', 'with --control: the CNI configuration it is put into')
    .option(
      '--cni-node-conf-dir <dir>',
      'with --control: what the node calls the same directory (default: the same)',
    )
    .option(
      '--cni-socket <path>',
      'with --control: where the plugin asks (default: beside the state directory)',
    )
    .option('--kubelet <name>', 'with --control: the process whose probes STRICT workloads answer', 'kubelet')
    .addOption(
      new Option('--mesh-state <how>', 'with --control: know the whole mesh, or what pods here connect to')
        .choices(['whole', 'on-demand'])
        .default('whole'),
    )
    .action(async options => (await import('./run.ts')).run(options));
}

function addAuthority(program: Command): void {
  const authority = program.command('authority').description('the embedded certificate authority');

  authority
    .command('status')
    .description('its roots, and which one signs')
    .requiredOption('--authority <file>', 'file of the authority')
    .addOption(output())
    .action(async options => (await import('./authority-command.ts')).authorityStatus(options));

  authority
    .command('rotate')
    .description(
      'replace the root without breaking a connection: add a new one, activate it, retire the old one',
    )
    .addArgument(
      new Argument('<step>', 'one step; agents follow within seconds').choices(['add', 'activate', 'retire']),
    )
    .requiredOption('--authority <file>', 'file of the authority')
    .option(
      '--root <fingerprint>',
      'which root, by the beginning of its fingerprint (default: the only possible one)',
    )
    .option('--force', 'retire although agents may not have followed yet')
    .addOption(output())
    .action(async (step, options) => (await import('./authority-command.ts')).rotate(step, options));
}
