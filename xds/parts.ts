/**
 * How a control plane of ours tells a large state in parts, to clients that understand it: those of others take the first
 * response of a type for the whole. Parts keep the memory of both ends small, and each is accepted by itself.
 */

/** In `client_features` of the client's node. */
export const partsFeature = 'culvert.dev/parts';

/** `system_version_info` of a response that others follow before the client knows everything. */
export const partMark = 'part';
