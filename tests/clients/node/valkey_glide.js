// Valkey GLIDE, standalone, one client for what need not have its own; SETs are concurrent calls, as its way is. Its time-out of
// 250 ms is shorter than a pause may be; it is set to more than the hold.
'use strict';

const { Batch, GlideClient, GlideClientConfiguration, Logger, Script } = require('@valkey/valkey-glide');
const report = require('./report');

const { host, port, say } = report;

function connect(options) {
  return GlideClient.createClient({ addresses: [{ host, port }], requestTimeout: 20_000, ...options });
}

report.run(async () => {
  // It would write to standard output.
  Logger.init('off');
  const client = await connect();
  const script = new Script(report.ADD);
  const add = () => client.invokeScript(script, { keys: ['script'], args: ['7'] });
  say('client', 'valkey-glide-js', report.version('@valkey/valkey-glide'));
  say('script', await add());
  const roles = [];
  for (let number = 0; number < report.WRITERS; number += 1) {
    roles.push(report.write(number, (pairs) => report.together(pairs.map(([key, value]) => client.set(key, value)))));
  }
  roles.push(report.transact(() => client.exec(new Batch(true).incr('counter').get('counter'), true)));
  const worker = await connect();
  roles.push(report.work(async () => (await worker.blpop(['jobs'], 0))[1]));
  roles.push((async () => {
    const channelsAndPatterns = { [GlideClientConfiguration.PubSubChannelModes.Exact]: new Set(['news']) };
    const subscriber = await connect({ pubsubSubscriptions: { channelsAndPatterns } });
    for (let text = ''; text !== 'after'; ) {
      text = (await subscriber.getPubSubMessage()).message;
      say('heard', text);
    }
  })());
  await Promise.all(roles);
  let [cursor, scanned] = ['0', 0];
  do {
    const [next, keys] = await client.scan(cursor, { match: 'w:0:*', count: 500 });
    [cursor, scanned] = [next, scanned + keys.length];
  } while (cursor !== '0');
  say('scanned', scanned);
  say('script', await add());
});
