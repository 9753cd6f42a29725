/** `--limit name=value`, as `run` and `waypoint run` take it: a change of one deadline or cap. */

/**
 * All limits with these changes. What can't be one becomes a line of `problems`.
 * @param mayBeZero those of which 0 means that there is none
 */
export function changedLimits<Limits extends { readonly [Name in keyof Limits]: number }>(
  standard: Limits,
  mayBeZero: readonly (keyof Limits)[],
  changes: readonly string[],
  problems: string[],
): Limits {
  const changed = new Map<string, number>();
  for (const change of changes) {
    const [name = '', value = ''] = change.split('=', 2);
    const least = (mayBeZero as readonly string[]).includes(name) ? 0 : 1;
    if (!Object.hasOwn(standard, name))
      problems.push(
        `--limit ${change}: there is no limit "${name}"; there are ${Object.keys(standard).join(', ')}`,
      );
    else if (!/^(0|[1-9]\d{0,9})$/.test(value) || Number(value) < least)
      problems.push(`--limit ${change}: a whole number of at least ${least} is needed`);
    else changed.set(name, Number(value));
  }
  return { ...standard, ...Object.fromEntries(changed) };
}
