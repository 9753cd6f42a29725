/** `--limit name=value`, as `run` and `waypoint run` take it: a change of one deadline or cap. */

/** All limits with these changes. What can't be one becomes a line of `problems`. */
export function changedLimits<Limits extends { readonly [Name in keyof Limits]: number }>(
  standard: Limits,
  changes: readonly string[],
  problems: string[],
): Limits {
  const changed = new Map<string, number>();
  for (const change of changes) {
    const [name = '', value = ''] = change.split('=', 2);
    if (!Object.hasOwn(standard, name))
      problems.push(
        `--limit ${change}: there is no limit "${name}"; there are ${Object.keys(standard).join(', ')}`,
      );
    else if (!/^[1-9]\d{0,9}$/.test(value))
      problems.push(`--limit ${change}: a whole number above 0 is needed`);
    else changed.set(name, Number(value));
  }
  return { ...standard, ...Object.fromEntries(changed) };
}
