/** Addresses in schemas: what model/address.ts takes for one, made canonical on the way in. */
import * as z from 'zod';
import { canonicalIp, isLoopback, parseCidr } from '../address.ts';

/** The address of something that can be connected to; the value becomes its canonical form. */
export const ip = z
  .string()
  .refine(text => canonicalIp(text) !== null, 'not an IPv4 or IPv6 address')
  .refine(
    text => isReachable(canonicalIp(text)),
    "a loopback or unspecified address is nobody's in particular",
  )
  .transform(text => canonicalIp(text) ?? text);

/**
 * Text that may be an address or a prefix. Exact for IPv4 and generous for IPv6: what a CustomResourceDefinition can say
 * where rules in CEL would cost too much (lists in lists).
 */
const ipBlockPattern =
  /^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\/(3[0-2]|[12]?[0-9]))?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(\/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$/;

/** An address or a prefix (`10.0.0.0/8`), left as it is written: the policy it stands in is translated later. */
export const ipBlock = z
  .string()
  .min(1)
  .max(64)
  .regex(ipBlockPattern, { error: 'not an IP address or prefix such as 10.0.0.0/8', abort: true })
  .refine(text => parseCidr(text) !== null, 'not an IP address or prefix such as 10.0.0.0/8');

/** Whether an address can stand for one peer among others; what is not an address is another check's to name. */
export function isReachable(address: string | null): boolean {
  return address === null || !(isLoopback(address) || address === '0.0.0.0' || address === '::');
}
