// An application that is instrumented with Amplitude's SDK (`npm install @amplitude/analytics-node`); only `serverUrl` is new.

const amplitude = require("@amplitude/analytics-node");

const exports_ = [["acme", 120], ["acme", 30], ["globex", 7]];

async function main() {
  await amplitude.init(process.env.AMPLITUDE_API_KEY || "0123456789abcdef", {
    serverUrl: (process.env.METERLINE_URL || "http://127.0.0.1:4318") + "/2/httpapi",
    // The default gives up after about a minute.
    flushMaxRetries: 100,
    flushIntervalMillis: 200,
  }).promise;
  // Never call flush(): it sends once, and drops what is refused. Wait for the promises instead.
  const sent = exports_.map(([organization, rows]) =>
    amplitude.track("Export Created", { organization, rows }, { user_id: "alice@example.com" }).promise);
  for (const result of await Promise.all(sent)) {
    if (result.code !== 200) console.error(result.code, result.message);
  }
}

main();
