/** Options that several commands have, so that a name means the same everywhere. */
import { type Command, Option } from 'commander';

/** `-o`: of all commands that show something. */
export function output(): Option {
  return new Option('-o, --output <format>', 'for people or for programs')
    .choices(['table', 'json'])
    .default('table');
}

/**
 * Which cluster a command is about.
 * @param when with which other option these count, where they do not always
 */
export function addClusterOptions(command: Command, when = ''): Command {
  return command
    .option('--kubeconfig <file>', `${when}which cluster (default: as for kubectl)`)
    .option('--context <name>', `${when}of the kubeconfig (default: the current one)`);
}

/** Where a process that runs learns the mesh from: one of the two. */
export function addSourceOptions(command: Command): Command {
  return command
    .option('--config <dir>', 'directory of Kubernetes YAML; edits take effect at once')
    .option('--control <host:port>', 'in a cluster instead: the control plane');
}

/** How an agent or a waypoint and its control plane know each other. */
export function addControlOptions(command: Command): Command {
  return command
    .option(
      '--control-root <file>',
      'with --control: roots of its certificate',
      '/var/run/secrets/culvert-root/root.pem',
    )
    .option('--control-name <name>', 'with --control: DNS name in its certificate (default: the host)')
    .option(
      '--token <file>',
      "with --control: of the pod's service account",
      '/var/run/secrets/culvert/token',
    )
    .option('--cluster-id <name>', 'with --control: as in MeshConfig', 'Kubernetes');
}

/** What a process writes about itself. */
export function addLogLevel(command: Command): Command {
  return command.option(
    '--log-level <level>',
    'trace, debug, info, warn, error; or component=level,…',
    'info',
  );
}

/**
 * Deadlines and caps.
 * @param page of the documentation that has their names
 */
export function addLimits(command: Command, page: string): Command {
  return command.option('--limit <name=value...>', `change a deadline or cap, see ${page}`);
}
