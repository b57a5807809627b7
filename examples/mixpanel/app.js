// An application that is instrumented with Mixpanel's SDK (`npm install mixpanel`); only host, port and protocol are new.

const { randomUUID } = require("node:crypto");
const Mixpanel = require("mixpanel");

const url = new URL(process.env.METERLINE_URL || "http://127.0.0.1:4318");
const client = Mixpanel.init(process.env.MIXPANEL_TOKEN || "0123456789abcdef", {
  host: url.hostname,
  port: url.port,
  protocol: url.protocol.replace(":", ""),
});

// This SDK gives events neither time nor id, and never tries again. With both, one can be sent again and counts once.
function track(name, properties) {
  const event = { ...properties, time: new Date(), $insert_id: randomUUID() };
  const attempt = () => client.track(name, { ...event }, (error) => error && setTimeout(attempt, 1000));
  attempt();
}

for (const [organization, rows] of [["acme", 120], ["acme", 30], ["globex", 7]]) {
  track("Export Created", { distinct_id: "alice@example.com", organization, rows });
}
