/** What the cluster is made of that is not a Debian package. */

/** A module of the Go proxy. Its libraries, k8s.io/api and others, have the same version with another first number. */
export const kubernetesVersion = 'v1.34.4';
export const coreDnsVersion = 'v1.14.6';
