/**
 * The messages of the mesh's protocols as TypeScript sees them, one interface per message of the .proto files.
 *
 * As they come out of a decoder: what was absent has its default, null where absence is a value of its own (messages,
 * `optional`, members of a oneof). Enumerations are numbers, since a newer peer may send ones unknown here.
 */
/** google.protobuf.Struct; see struct.ts. */
export interface WireStruct {
  readonly fields: Readonly<Record<string, WireValue>>;
}

export interface WireValue {
  readonly nullValue: number | null;
  readonly numberValue: number | null;
  readonly stringValue: string | null;
  readonly boolValue: boolean | null;
  readonly structValue: WireStruct | null;
  readonly listValue: { readonly values: readonly WireValue[] } | null;
}

export interface WireExtension {
  readonly name: string;
  /** google.protobuf.Any */
  readonly config: Buffer;
}

// workload.proto

export interface WireAddress {
  readonly workload: WireWorkload | null;
  readonly service: WireService | null;
}

export interface WireWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly Buffer[];
  readonly network: string;
  readonly tunnelProtocol: number;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly waypoint: WireGatewayAddress | null;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: number;
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  readonly authorizationPolicies: readonly string[];
  readonly status: number;
  readonly clusterId: string;
  readonly networkGateway: WireGatewayAddress | null;
  readonly uid: string;
  readonly hostname: string;
  readonly services: Readonly<Record<string, WirePortList>>;
  readonly applicationTunnel: { readonly protocol: number; readonly port: number } | null;
  readonly locality: WireLocality | null;
  readonly networkMode: number;
  readonly extensions: readonly WireExtension[];
  readonly capacity: { readonly value: number } | null;
}

export interface WireService {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly addresses: readonly WireNetworkAddress[];
  readonly ports: readonly WirePort[];
  readonly subjectAltNames: readonly string[];
  readonly waypoint: WireGatewayAddress | null;
  readonly loadBalancing: WireLoadBalancing | null;
  readonly ipFamilies: number;
  readonly extensions: readonly WireExtension[];
  readonly canonical: boolean;
  readonly ingressUseWaypoint: boolean;
  readonly weightedWaypoints: readonly WireWeightedWaypoint[];
  readonly visibility: number;
}

export interface WirePortList {
  readonly ports: readonly WirePort[];
}

export interface WirePort {
  readonly servicePort: number;
  readonly targetPort: number;
  readonly appProtocol: number;
}

export interface WireNetworkAddress {
  readonly network: string;
  readonly address: Buffer;
  readonly length: number | null;
}

export interface WireGatewayAddress {
  readonly hostname: { readonly namespace: string; readonly hostname: string } | null;
  readonly address: WireNetworkAddress | null;
  readonly hboneMtlsPort: number;
}

export interface WireWeightedWaypoint {
  readonly destination: WireGatewayAddress | null;
  readonly weight: number;
}

export interface WireLoadBalancing {
  readonly routingPreference: readonly number[];
  readonly mode: number;
  readonly healthPolicy: number;
}

export interface WireLocality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

// authorization.proto

export interface WireAuthorization {
  readonly name: string;
  readonly namespace: string;
  readonly scope: number;
  readonly action: number;
  readonly rules: readonly WireRule[];
  readonly dryRun: boolean;
  readonly extensions: readonly WireExtension[];
}

export interface WireRule {
  readonly clauses: readonly WireClause[];
}

export interface WireClause {
  readonly matches: readonly WireMatch[];
}

export interface WireMatch {
  readonly namespaces: readonly WireStringMatch[];
  readonly notNamespaces: readonly WireStringMatch[];
  readonly principals: readonly WireStringMatch[];
  readonly notPrincipals: readonly WireStringMatch[];
  readonly sourceIps: readonly WirePrefix[];
  readonly notSourceIps: readonly WirePrefix[];
  readonly destinationIps: readonly WirePrefix[];
  readonly notDestinationIps: readonly WirePrefix[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly WireServiceAccountMatch[];
  readonly notServiceAccounts: readonly WireServiceAccountMatch[];
  readonly extensions: readonly WireExtension[];
}

/** istio.security.Address */
export interface WirePrefix {
  readonly address: Buffer;
  readonly length: number;
}

export interface WireStringMatch {
  readonly exact: string | null;
  readonly prefix: string | null;
  readonly suffix: string | null;
  readonly presence: object | null;
}

export interface WireServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

// discovery.proto

export interface WireDeltaRequest {
  readonly node: WireNode | null;
  readonly typeUrl: string;
  readonly resourceNamesSubscribe: readonly string[];
  readonly resourceNamesUnsubscribe: readonly string[];
  readonly initialResourceVersions: Readonly<Record<string, string>>;
  readonly responseNonce: string;
  readonly errorDetail: WireStatus | null;
}

export interface WireDeltaResponse {
  readonly systemVersionInfo: string;
  readonly resources: readonly WireResource[];
  readonly typeUrl: string;
  readonly nonce: string;
  readonly removedResources: readonly string[];
}

export interface WireResource {
  readonly version: string;
  readonly resource: WireAny | null;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly ttl: { readonly seconds: number; readonly nanos: number } | null;
  readonly cacheControl: { readonly doNotCache: boolean } | null;
}

export interface WireAny {
  readonly typeUrl: string;
  readonly value: Buffer;
}

export interface WireNode {
  readonly id: string;
  readonly cluster: string;
  readonly metadata: WireStruct | null;
  readonly buildVersion: string;
  readonly clientFeatures: readonly string[];
}

export interface WireStatus {
  readonly code: number;
  readonly message: string;
}

// ca.proto

export interface WireCertificateRequest {
  readonly csr: string;
  readonly validityDuration: number;
  readonly metadata: WireStruct | null;
}

export interface WireCertificateResponse {
  readonly certChain: readonly string[];
}

// mesh.proto

export interface WireSettings {
  readonly trustDomain: string;
  readonly network: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly accessLog: boolean;
  readonly certificateTtlSeconds: number;
  readonly enrolledNamespaces: readonly string[];
  readonly excludedNamespaces: readonly string[];
}

export interface WireNodePod {
  readonly podUid: string;
  readonly workloadUid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly addresses: readonly string[];
  readonly wanted: boolean;
  readonly failMode: number;
  readonly dnsCapture: boolean;
  readonly probePorts: readonly number[];
  readonly runtimeUid: string;
}

export interface WireWaypointResource {
  readonly list: string;
  readonly key: string;
  readonly json: string;
  readonly needs: readonly string[];
  readonly about: readonly string[];
}

export interface WireSessionAffinity {
  readonly timeoutMs: number;
}

export interface WireNodeReport {
  readonly full: boolean;
  readonly pods: readonly WirePodState[];
  readonly gone: readonly string[];
  readonly agentVersion: string;
}

export interface WirePodState {
  readonly podUid: string;
  readonly enrolled: boolean;
  readonly code: string;
  readonly message: string;
}

/** Nothing is said; that it came is the answer. */
export type WireReportReply = object;
