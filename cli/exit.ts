/** Exit codes by what went wrong (the numbers of sysexits.h). */
import { CulvertError } from '../base/errors.ts';

const badConfiguration = new Set([
  'BAD_USAGE',
  'ALREADY_RUNNING',
  'STATE_DIR_UNUSABLE',
  'HELM_INSTALLATION',
  'NOT_INSTALLED',
  'GATEWAY_API_MISSING',
  'WAYPOINT_TAKEN',
]);

/** 1 for a cluster that is not there yet, 64 for what the user wrote, 69 for what the machine lacks, 70 for what we did not expect. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Error && error.name === 'NativeError') return 69;
  if (!(error instanceof CulvertError)) return 70;
  if (error.code === 'CLUSTER_TIMEOUT') return 1;
  if (
    badConfiguration.has(error.code) ||
    error.code.startsWith('CONFIG_') ||
    error.code.startsWith('AUTHORITY_')
  )
    return 64;
  return 69;
}
