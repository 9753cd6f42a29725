/** Only the ASN.1 part of node-forge is loaded: the whole of it costs each agent several megabytes. */
declare module 'node-forge/lib/asn1.js' {
  interface Asn1 {
    readonly tagClass: number;
    readonly type: number;
    /** Content, one character per byte, or the nodes inside. */
    readonly value: string | Asn1[];
  }

  interface Asn1Library {
    create(tagClass: number, type: number, constructed: boolean, value: string | Asn1[]): Asn1;
    fromDer(
      bytes: string,
      options: { strict: boolean; parseAllBytes: boolean; decodeBitStrings: boolean },
    ): Asn1;
    toDer(node: Asn1): { getBytes(): string };
    oidToDer(oid: string): { getBytes(): string };
    derToOid(bytes: string): string;
    dateToUtcTime(date: Date): string;
    dateToGeneralizedTime(date: Date): string;
  }

  const library: Asn1Library;
  export = library;
}
