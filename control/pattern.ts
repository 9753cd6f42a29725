/**
 * Regular expressions that people write into routes: those that every engine of linear time could run (RE2), so that no
 * request can keep a waypoint busy.
 */

/** What is wrong with a pattern, or null. */
export function patternProblem(text: string): string | null {
  try {
    RegExp(`^(?:${text})$`);
  } catch {
    return `"${text}" is no regular expression`;
  }
  // Escapes and classes out of the way, what remains is structure.
  const structure = text.replaceAll(/\\[^1-9k]/g, '.').replaceAll(/\[[^\]]*\]/g, '.');
  if (/\\[1-9k]/.test(structure)) return 'back references are not possible';
  if (/\(\?(?:[=!]|<[=!])/.test(structure)) return 'looking ahead or behind is not possible';
  return null;
}
