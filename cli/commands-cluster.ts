/** The commands about a cluster as a whole: putting the mesh into it, changing it, leaving; and the control plane itself. */
import { type Command, Option } from 'commander';
import { addClusterOptions, addLogLevel, output } from './options.ts';

export function addClusterCommands(program: Command): void {
  installation(program, 'install', 'put the mesh into a cluster, or change what is there')
    .option('--set <path=value...>', 'a value of docs/chart-values.md')
    .option('--values <file>', 'YAML file of values, as for Helm')
    .option('--dry-run', 'let the API server check everything, and change nothing')
    .action(async options => (await import('./install.ts')).install(options));

  installation(program, 'upgrade', 'this version instead of the one that is there, with the same values')
    .option('--set <path=value...>', 'a value that changes')
    .option('--values <file>', 'YAML file of values that change')
    .option('--reset-values', 'forget the values of before')
    .option('--dry-run', 'let the API server check everything, and change nothing')
    .action(async options => (await import('./install.ts')).upgrade(options));

  installation(program, 'uninstall', 'leave every node as it was, then remove the mesh from the cluster')
    .option('--nodes-only', 'clean the nodes and stop the agents, and remove nothing else')
    .option('--crds', 'also the definitions of our kinds, and with them every policy')
    .option('--keep-namespace', 'leave the namespace')
    .action(async options => (await import('./uninstall.ts')).uninstall(options));

  addControl(program);
}

/** A command that changes what is installed, with the options that they share. */
function installation(program: Command, name: string, description: string): Command {
  const command = program
    .command(name)
    .description(description)
    .addOption(output())
    .option('--namespace <name>', 'where it is installed', 'culvert-system');
  return addClusterOptions(command).option(
    '--timeout <time>',
    'how long to wait for the cluster, such as 90s or 5m',
    '5m',
  );
}

function addControl(program: Command): void {
  const control = program
    .command('control')
    .description('be the control plane of a cluster: configuration and certificates for its agents')
    .option(
      '--kubeconfig <file>',
      'how to reach the API server (default: as for kubectl, or the pod it runs in)',
    )
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
    );
  addLogLevel(control).action(async options => (await import('./control-command.ts')).control(options));
}
