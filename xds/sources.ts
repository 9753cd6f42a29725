/** Where agents and waypoints learn the mesh from, as operators say it. */
export interface DirectoryConfig {
  readonly kind: 'directory';
  /** Of Kubernetes YAML; watched. */
  readonly directory: string;
  /** File with the embedded certificate authority; null: `.culvert/authority.pem` below the directory. */
  readonly authority: string | null;
}

/** The control plane of a cluster: mesh, certificates, reports. */
export interface ControlConfig {
  /** `host:port` */
  readonly address: string;
  /** PEM file of the roots that its certificate comes from. */
  readonly root: string;
  /** File of the token that says who and where this process is. */
  readonly token: string;
  /** DNS name in its certificate; null: the host of `address`. */
  readonly serverName: string | null;
  /** What the mesh calls the cluster. */
  readonly clusterId: string;
}
