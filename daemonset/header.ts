/** First line of every file that is generated from this folder and takes `#` as a comment. */
export const generatedHeader =
  '# Generated from daemonset/manifests and daemonset/values.ts: do not edit, run `make gen`.\n';
