// Logs so many events through pino-loki, as an application would: node send.js URL COUNT
const pino = require("pino");

const [url, count] = [process.argv[2], Number(process.argv[3])];
const transport = pino.transport({
  target: "pino-loki",
  options: { host: url, labels: { app: "shop" }, propsToLabels: ["plan"], batching: { interval: 0.2 } },
});
const logger = pino(transport);
for (let n = 0; n < count; n += 1) {
  logger.info({ customer: `c${n % 3}`, units: n, plan: n % 2, meta: { "log.record.uid": `order-${n}`, shard: n } }, "sold");
}
logger.flush();
transport.end();
transport.on("close", () => console.log("sent"));
