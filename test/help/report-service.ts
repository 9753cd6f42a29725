/** What agents report to the control plane of a test. */
import type { Server, ServerReadableStream } from '@grpc/grpc-js';
import { protocols } from '../../proto/load.ts';
import type { WireNodeReport, WireReportReply } from '../../proto/messages.ts';
import { Mailbox } from '../xds/fake-control.ts';

type Call = ServerReadableStream<WireNodeReport, WireReportReply>;
type Reply = (error: object | null, reply?: WireReportReply) => void;

/** The server's end of a stream of reports. */
export interface ReportStream {
  readonly reports: Mailbox<WireNodeReport>;
  /** Ends it, well or with an error. */
  readonly end: (error: object | null) => void;
}

export class ReportService {
  readonly streams = new Mailbox<ReportStream>();

  /** For `FakeControl.start({ services })`. */
  readonly addTo = (server: Server): void => {
    server.addService(protocols.services.nodeReports, {
      Report: (call: Call, reply: Reply) => {
        const reports = new Mailbox<WireNodeReport>();
        call.on('data', (report: WireNodeReport) => reports.put(report));
        call.on('error', () => {});
        this.streams.put({ reports, end: error => reply(error, error === null ? {} : undefined) });
      },
    });
  };
}
