// Sends through an official SDK: node send.js PRODUCT URL KEY CUSTOMER COUNT FIRST
// Prints {"sent": sum of what was told to be stored, "failed": number of events that the SDK gave up}.

const product = process.argv[2];
const url = new URL(process.argv[3]);
const [key, customer] = process.argv.slice(4, 6);
const [count, first] = process.argv.slice(6, 8).map(Number);

function values() {
  return Array.from({ length: count }, (_, n) => n + first);
}

async function amplitude() {
  const sdk = require("@amplitude/analytics-node");
  await sdk.init(key, {
    serverUrl: url.href + (url.href.endsWith("/") ? "" : "/") + "2/httpapi",
    flushMaxRetries: 100,
    flushIntervalMillis: 100,
    flushQueueSize: 7,
    logLevel: 0,
  }).promise;
  const results = values().map((rows) =>
    sdk.track("Export Created", { organization: customer, rows }, { user_id: "alice@example.com" }).promise);
  return (await Promise.all(results)).map((result) => result.code === 200);
}

async function mixpanel() {
  const { randomUUID } = require("node:crypto");
  const sdk = require("mixpanel").init(key, {
    host: url.hostname,
    port: url.port,
    protocol: url.protocol.replace(":", ""),
    verbose: first % 2 === 0,
  });
  const stored = (call) => new Promise((done) => call((error) => done(!error)));
  const properties = (rows) => ({
    distinct_id: "alice@example.com", organization: customer, rows, time: new Date(), $insert_id: randomUUID(),
  });
  const all = values();
  const half = all.length >> 1;
  const single = all.slice(0, half).map((rows) => stored((done) => sdk.track("Export Created", properties(rows), done)));
  const batch = all.slice(half).map((rows) => ({ event: "Export Created", properties: properties(rows) }));
  const rest = stored((done) => sdk.track_batch(batch, (errors) => done(errors && errors.length)));
  const together = await rest;
  return [...(await Promise.all(single)), ...batch.map(() => together)];
}

({ amplitude, mixpanel })[product]().then((stored) => {
  const sent = values().reduce((sum, rows, n) => sum + (stored[n] ? rows : 0), 0);
  console.log(JSON.stringify({ sent, failed: stored.filter((yes) => !yes).length }));
});
