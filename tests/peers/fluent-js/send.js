// Sends through @fluent-org/logger: node send.js PORT MODE CUSTOMER EVENTS PAUSE_MS [SHARED_KEY USERNAME PASSWORD]
// Prints {"sent": sum of what was acknowledged, "failed": number of events that the client gave up}.

const { FluentClient } = require("@fluent-org/logger");

const [port, eventMode, customer, events, pauseMs, sharedKey, username, password] = process.argv.slice(2);

const client = new FluentClient("js", {
  eventMode,
  socket: { host: "127.0.0.1", port: Number(port), timeout: 10000, reconnect: { minDelay: 50, maxDelay: 300 } },
  security: sharedKey ? { clientHostname: "js.example", sharedKey, username, password } : undefined,
  ack: { ackTimeout: 3000 },
  eventRetry: { attempts: 1000, minDelay: 50, maxDelay: 300 },
  milliseconds: true,
  flushInterval: 5,
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function main() {
  const results = [];
  for (let n = 1; n <= Number(events); n++) {
    const event = { customer, calls: n, event_id: `${customer}-${n}` };
    results.push(client.emit("calls", event).then(() => n, () => null));
    if (n % 20 === 0) await pause(Number(pauseMs));
  }
  const stored = await Promise.all(results);
  await client.disconnect();
  const sent = stored.reduce((sum, n) => sum + (n || 0), 0);
  console.log(JSON.stringify({ sent, failed: stored.filter((n) => n === null).length }));
}

main();
