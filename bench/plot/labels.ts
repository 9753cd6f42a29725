/** Names beside the ends of lines: as near as they can be, and none over another. Pure. */

/** Where each goes that wants to be at a place, `gap` apart and within the bounds, as far as all have room. */
export function apart(
  wanted: readonly number[],
  gap: number,
  [top, bottom]: readonly [number, number],
): number[] {
  const order = wanted.map((_, index) => index).toSorted((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0));
  // Neighbours that collide become a group around the middle of what they want, until no groups collide.
  let groups = order.map(index => ({ members: [index], middle: wanted[index] ?? 0 }));
  const height = (group: { members: readonly number[] }): number => (group.members.length - 1) * gap;
  const within = (group: { members: number[]; middle: number }) => {
    const half = height(group) / 2;
    const middle = Math.max(top + half, Math.min(bottom - half, group.middle));
    return { ...group, middle };
  };
  groups = groups.map(within);
  for (let at = 0; at + 1 < groups.length;) {
    const [upper, lower] = [groups[at], groups[at + 1]];
    if (upper === undefined || lower === undefined) break;
    if (lower.middle - height(lower) / 2 - (upper.middle + height(upper) / 2) >= gap - 1e-9) {
      at += 1;
      continue;
    }
    const members = [...upper.members, ...lower.members];
    const sum = members.reduce((total, index) => total + (wanted[index] ?? 0), 0);
    groups.splice(at, 2, within({ members, middle: sum / members.length }));
    at = Math.max(0, at - 1);
  }
  const places = wanted.map(() => 0);
  for (const group of groups)
    group.members.forEach((index, position) => {
      places[index] = group.middle - height(group) / 2 + position * gap;
    });
  return places;
}

/** About as wide as such a text is, in a font of that size. */
export function widthOf(words: string, fontSize: number): number {
  return words.length * fontSize * 0.54;
}
