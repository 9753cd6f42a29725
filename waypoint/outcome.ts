/** What an answer says of the endpoint that gave it: the status of HTTP, or that which stands for a status of gRPC. */

/** Those that say that something is wrong with the server (gRPC, "Status codes and their use"). */
const httpOf = new Map([
  ['2', 500],
  ['4', 504],
  ['8', 429],
  ['12', 501],
  ['13', 500],
  ['14', 503],
  ['15', 500],
]);

/** @param grpcStatus null where it is no gRPC, or did not say */
export function outcomeOf(status: number, grpcStatus: string | null): number {
  return status === 200 && grpcStatus !== null ? (httpOf.get(grpcStatus) ?? 200) : status;
}
