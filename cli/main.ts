/**
 * `culvert`: reads the command line and hands over. Nouns show, verbs change something.
 *
 * Exit codes: 0 done, 1 something is wrong with what was looked at, 64 bad usage or configuration, 69 this machine
 * can't, 70 our own fault.
 */
import { Argument, Command, CommanderError, Option } from 'commander';
import { describeError } from '../base/errors.ts';
import { exitCodeOf } from './exit.ts';

const program = new Command('culvert')
  .description('A service mesh without sidecars')
  .showHelpAfterError('(culvert --help lists the commands)')
  .exitOverride();

program
  .command('run')
  .description('enrol the pods of one node and carry their traffic, until told to stop')
  .option('--config <dir>', 'directory of Kubernetes YAML; edits take effect at once')
  .option('--control <host:port>', 'in a cluster instead: the control plane')
  .requiredOption('--node <name>', 'the pods whose spec.nodeName this is')
  .option('--state-dir <dir>', "the agent's own files (default: /run/culvert/<node>)")
  .option(
    '--cgroup-root <dir>',
    'cgroup v2 directory above the pods and the agent (default: the mount point)',
  )
  .option('--bpffs <dir>', 'where bpffs is, or is to be mounted', '/sys/fs/bpf')
  .option(
    '--authority <file>',
    'certificate authority, made when missing (default: <config>/.culvert/authority.pem)',
  )
  .option('--shards <n>', 'threads that carry connections (default: half the cores)')
  .option('--admin-port <n>', 'administration, loopback only', '15000')
  .option('--metrics-address <ip>', 'where Prometheus may scrape', '127.0.0.1')
  .option('--metrics-port <n>', 'Prometheus', '15020')
  .option('--ready-port <n>', 'readiness, loopback only', '15021')
  .option('--outbound-port <n>', 'inside each pod: connections of its applications', '15001')
  .option('--plaintext-port <n>', 'inside each pod: plain TCP that arrives', '15006')
  .option('--hbone-port <n>', 'inside each pod: tunnels that arrive', '15008')
  .option('--dns-port <n>', 'inside each pod: DNS', '15053')
  .option('--access-log <file>', 'one line per connection; - is standard output, empty is none', '-')
  .option('--log-level <level>', 'trace, debug, info, warn, error; or component=level,…', 'info')
  .option(
    '--kernel-path <mode>',
    'between pods of this node: off, direct (the kernel connects them), join (and joins their sockets)',
    'direct',
  )
  .option('--limit <name=value...>', 'change a deadline or cap, see docs/running.md')
  .option(
    '--control-root <file>',
    'with --control: roots of its certificate',
    '/var/run/secrets/culvert-root/root.pem',
  )
  .option('--control-name <name>', 'with --control: DNS name in its certificate (default: the host)')
  .option(
    '--ca <host:port>',
    'with --control: another server of the certificate service (default: the control plane)',
  )
  .option('--ca-root <file>', 'with --ca: roots of its certificate (default: as --control-root)')
  .option('--token <file>', 'with --control: who this agent is', '/var/run/secrets/culvert/token')
  .option('--cluster-id <name>', 'with --control: as in MeshConfig', 'Kubernetes')
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
  .option(
    '--detach-on-exit',
    'leave the mesh when stopped, instead of keeping every pod in its declared mode',
  )
  .action(async options => (await import('./run.ts')).run(options));

program
  .command('control')
  .description('be the control plane of a cluster: configuration and certificates for its agents')
  .option('--kubeconfig <file>', 'how to reach the API server (default: as kubectl, or the pod it runs in)')
  .option('--namespace <name>', 'where its Secret, ConfigMap and Lease are', 'culvert-system')
  .option('--identity <name>', 'of this replica (default: POD_NAME, or the host name)')
  .option('--address <ip>', 'where agents, Prometheus and kubelets may connect', '::')
  .option('--port <n>', 'gRPC over TLS', '15012')
  .option('--metrics-port <n>', 'Prometheus', '15014')
  .option('--ready-port <n>', 'readiness', '15021')
  .option('--admin-port <n>', 'administration, loopback only', '15000')
  .option(
    '--agent <namespace/name...>',
    'service accounts that may be agents (default: culvert-agent of the namespace)',
  )
  .option('--audience <name...>', 'what tokens must be for (default: culvert-ca, istio-ca)')
  .option('--dns-name <name...>', 'further names in its certificate')
  .option('--waypoint-image <image>', 'image of the pods of waypoints; without it none are made')
  .addOption(
    new Option('--waypoint-pull-policy <when>', 'when nodes ask the registry for it')
      .choices(['Always', 'IfNotPresent', 'Never'])
      .default('IfNotPresent'),
  )
  .option(
    '--waypoint-pull-secret <name...>',
    "Secrets of a waypoint's namespace with credentials of the registry",
  )
  .option('--log-level <level>', 'trace, debug, info, warn, error; or component=level,…', 'info')
  .action(async options => (await import('./control-command.ts')).control(options));

program
  .command('check')
  .description('what this machine can do for the mesh, and what to do about the rest')
  .addOption(output())
  .option('--pre', 'look at a cluster instead, before an installation')
  .option('--namespace <name>', 'with --pre: where it would be installed', 'culvert-system')
  .option('--kubeconfig <file>', 'with --pre: which cluster (default: as for kubectl)')
  .option('--context <name>', 'with --pre: of the kubeconfig (default: the current one)')
  .option('--cgroup-root <dir>', 'cgroup v2 directory to look at')
  .option('--bpffs <dir>', 'where bpffs should be', '/sys/fs/bpf')
  .option('--admin <host:port>', 'a running agent to ask as well', '127.0.0.1:15000')
  .action(async options => {
    if (options.pre === true) await (await import('./cluster-check.ts')).checkCluster(options);
    else await (await import('./check.ts')).check(options);
  });

program
  .command('status')
  .description('what a running agent has enrolled, and what is wrong with its configuration')
  .addOption(output())
  .option('--admin <host:port>', 'administration port of the agent', '127.0.0.1:15000')
  .option('--cluster', 'of a whole cluster instead of one agent')
  .option('--namespace <name>', 'with --cluster: where it is installed', 'culvert-system')
  .option('--kubeconfig <file>', 'with --cluster: which cluster (default: as for kubectl)')
  .option('--context <name>', 'with --cluster: of the kubeconfig (default: the current one)')
  .action(async options => {
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
  .option('--state-dir <dir>', 'as given to run')
  .option('--cni-bin-dir <dir>', 'as given to run')
  .option('--cni-conf-dir <dir>', 'as given to run')
  .action(async options => (await import('./detach.ts')).detach(options));

inCluster('install', 'put the mesh into a cluster, or change what is there')
  .option('--set <path=value...>', 'a value of docs/chart-values.md')
  .option('--values <file>', 'YAML file of values, as for Helm')
  .option('--dry-run', 'let the API server check everything, and change nothing')
  .action(async options => (await import('./install.ts')).install(options));

inCluster('upgrade', 'this version instead of the one that is there, with the same values')
  .option('--set <path=value...>', 'a value that changes')
  .option('--values <file>', 'YAML file of values that change')
  .option('--reset-values', 'forget the values of before')
  .option('--dry-run', 'let the API server check everything, and change nothing')
  .action(async options => (await import('./install.ts')).upgrade(options));

inCluster('uninstall', 'leave every node as it was, then remove the mesh from the cluster')
  .option('--nodes-only', 'clean the nodes and stop the agents, and remove nothing else')
  .option('--crds', 'also the definitions of our kinds, and with them every policy')
  .option('--keep-namespace', 'leave the namespace')
  .action(async options => (await import('./uninstall.ts')).uninstall(options));

ofMesh(
  'explain',
  'whether a request may pass a waypoint, which rule of which route it would hit, why, and what becomes of it',
)
  .argument(
    '<url>',
    'http://<service>.<namespace>:<port>/<path>; tls://… or tcp://… of a connection that is carried as it is',
  )
  .option('-X, --request <method>', 'method', 'GET')
  .option('-H, --header <line...>', '"name: value"')
  .option('--from <namespace>', "of the client (default: the service's own)")
  .option('--account <name>', 'service account of the client', 'default')
  .option('--address <ip>', 'of the client', '127.0.0.1')
  .option('--claims <json>', 'of its token, as if it had been verified')
  .option('--sni <name>', 'that TLS asks for')
  .action(async (url, options) =>
    /^(tcp|tls):/.test(url)
      ? (await import('./explain-connection.ts')).explainConnection(url, options)
      : (await import('./explain-command.ts')).explain(url, options),
  );

ofMesh('routes', 'the rules of services, in the order in which requests are held against them')
  .argument('[service]', '<name>.<namespace> (default: all that have rules)')
  .option('--from <namespace>', "of the client (default: the service's own)")
  .action(async (service, options) => (await import('./routes-command.ts')).routes(service, options));

const waypoint = program
  .command('waypoint')
  .description('the proxy of a namespace or service that wants more than L4');

waypoint
  .command('run')
  .description('route, retry and watch the requests to what uses this waypoint, until told to stop')
  .option('--config <dir>', 'directory of Kubernetes YAML; edits take effect at once')
  .option('--control <host:port>', 'in a cluster instead: the control plane')
  .requiredOption('--name <namespace/name>', 'the Gateway that this is a pod of')
  .option(
    '--authority <file>',
    'with --config: certificate authority (default: <config>/.culvert/authority.pem)',
  )
  .option(
    '--control-root <file>',
    'with --control: roots of its certificate',
    '/var/run/secrets/culvert-root/root.pem',
  )
  .option('--control-name <name>', 'with --control: DNS name in its certificate (default: the host)')
  .option('--token <file>', "with --control: of the pod's service account", '/var/run/secrets/culvert/token')
  .option('--cluster-id <name>', 'with --control: as in MeshConfig', 'Kubernetes')
  .option('--address <ip>', 'where tunnels come to', '0.0.0.0')
  .option('--hbone-port <n>', 'tunnels that arrive', '15008')
  .option('--admin-port <n>', 'administration, loopback only', '15000')
  .option('--metrics-address <ip>', 'where Prometheus may scrape', '127.0.0.1')
  .option('--metrics-port <n>', 'Prometheus', '15020')
  .option('--ready-address <ip>', 'where a kubelet may ask whether it is ready', '127.0.0.1')
  .option('--ready-port <n>', 'readiness', '15021')
  .option('--access-log <file>', 'one line per request; - is standard output, empty is none', '-')
  .option('--log-level <level>', 'trace, debug, info, warn, error; or component=level,…', 'info')
  .option('--limit <name=value...>', 'change a deadline or cap, see docs/waypoint.md')
  .action(async options => (await import('./waypoint-command.ts')).runWaypoint(options));

ofWaypoints('apply', 'a waypoint in a cluster: makes its Gateway, or changes what is there')
  .option('--name <name>', 'of the Gateway', 'waypoint')
  .addOption(
    new Option('--for <traffic>', 'what passes it')
      .choices(['service', 'workload', 'all', 'none'])
      .default('service'),
  )
  .option('-A, --all-namespaces', 'other namespaces may use it too')
  .option('--enroll-namespace', 'its namespace uses it from now on')
  .option('--overwrite', 'also where the namespace uses another one')
  .option('--wait', 'until traffic can pass it')
  .option('--timeout <time>', 'with --wait, such as 90s or 5m', '90s')
  .action(async options => (await import('./cluster-waypoint.ts')).applyWaypoint(options));

ofWaypoints('list', 'the waypoints of a namespace')
  .option('-A, --all-namespaces', 'of all')
  .action(async options => (await import('./cluster-waypoint.ts')).listWaypoints(options));

ofWaypoints('status', 'what the control plane says about them; 1 unless traffic can pass')
  .argument('[name...]', 'which ones (default: all of the namespace)')
  .option('-A, --all-namespaces', 'of all')
  .option('--wait', 'until traffic can pass')
  .option('--timeout <time>', 'with --wait, such as 90s or 5m', '90s')
  .action(async (names, options) => (await import('./cluster-waypoint.ts')).waypointStatus(names, options));

ofWaypoints('delete', 'waypoints of a cluster; traffic goes directly from then on')
  .argument('[name...]', 'which ones')
  .option('--all', 'all of the namespace')
  .action(async (names, options) => (await import('./cluster-waypoint.ts')).deleteWaypoints(names, options));

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

program
  .command('version')
  .description('version of this program, and of what runs in a cluster where one can be reached')
  .addOption(output())
  .option('--client', 'of this program only')
  .option('--namespace <name>', 'where it is installed', 'culvert-system')
  .option('--kubeconfig <file>', 'which cluster (default: as for kubectl)')
  .option('--context <name>', 'of the kubeconfig (default: the current one)')
  .action(async options => (await import('./version.ts')).version(options));

/** A command about a whole cluster, with the options that they share. */
function inCluster(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(output())
    .option('--namespace <name>', 'where it is installed', 'culvert-system')
    .option('--kubeconfig <file>', 'which cluster (default: as for kubectl)')
    .option('--context <name>', 'of the kubeconfig (default: the current one)')
    .option('--timeout <time>', 'how long to wait for the cluster, such as 90s or 5m', '5m');
}

/** A command that asks what the mesh would do, of a directory or a cluster. */
function ofMesh(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(output())
    .option('--config <dir>', 'directory of Kubernetes YAML (default: the objects of a cluster)')
    .option('--kubeconfig <file>', 'which cluster (default: as for kubectl)')
    .option('--context <name>', 'of the kubeconfig (default: the current one)');
}

/** A command about the waypoints of a cluster. */
function ofWaypoints(name: string, description: string): Command {
  return waypoint
    .command(name)
    .description(description)
    .addOption(output())
    .option('-n, --namespace <name>', 'of the waypoint (default: that of the kubeconfig)')
    .option('--kubeconfig <file>', 'which cluster (default: as for kubectl)')
    .option('--context <name>', 'of the kubeconfig (default: the current one)');
}

function output(): Option {
  return new Option('-o, --output <format>', 'for people or for programs')
    .choices(['table', 'json'])
    .default('table');
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 64;
  else {
    process.stderr.write(`culvert: ${describeError(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
