import t from 'tap';
import { cases, manifest } from './cases.ts';
import { parseFile } from '../help/configuration.ts';

t.test('what is refused here is what an API server refuses', async t => {
  for (const each of cases) {
    const { refused, findings } = parseFile(JSON.stringify(manifest(each)), 'x.yaml');
    const words = findings.map(({ message }) => message).join('; ');
    t.equal(refused, each.refusal !== null, `${each.kind}: ${each.what}${words === '' ? '' : ` (${words})`}`);
  }
});
