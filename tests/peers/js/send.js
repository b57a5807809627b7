// Sends counters, a histogram and logs through the OpenTelemetry JS SDK over OTLP, in several exports.
// usage: node send.js TARGET NAME ROUNDS TEMPORALITY [PROTOCOL] -> prints what must be billed, as {"customer dimension": total}
// PROTOCOL: grpc (default), http/protobuf or http/json, as in OTEL_EXPORTER_OTLP_PROTOCOL
'use strict';
const { credentials } = require('@grpc/grpc-js');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchLogRecordProcessor, LoggerProvider } = require('@opentelemetry/sdk-logs');
const { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');

const PACKAGES = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };

// Returns the two exporters of a protocol, which differ in how they are told where to send to.
function exporters(protocol, target, temporalityPreference) {
  const { OTLPMetricExporter } = require(`@opentelemetry/exporter-metrics-otlp-${PACKAGES[protocol]}`);
  const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${PACKAGES[protocol]}`);
  const options = (signal) => protocol === 'grpc'
    ? { url: `http://${target}`, credentials: credentials.createInsecure() }
    : { url: `http://${target}/v1/${signal}`, compression: protocol === 'http/protobuf' ? 'gzip' : 'none' };
  return {
    metrics: new OTLPMetricExporter({ ...options('metrics'), temporalityPreference }),
    logs: new OTLPLogExporter(options('logs')),
  };
}

async function main() {
  const [target, name, rounds, temporality, protocol = 'grpc'] = process.argv.slice(2);
  const resource = resourceFromAttributes({ 'service.name': 'js', 'service.instance.id': name });
  const exporter = exporters(protocol, target, AggregationTemporality[temporality]);
  const reader = new PeriodicExportingMetricReader({
    exporter: exporter.metrics,
    exportIntervalMillis: 3600000,
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  const logs = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: exporter.logs })] });
  const meter = meters.getMeter('peer');
  const requests = meter.createCounter('sdk.requests', { unit: '{request}' });
  const work = meter.createCounter('sdk.work', { unit: 's' });
  const sizes = meter.createHistogram('sdk.size', { unit: 'By' });
  const logger = logs.getLogger('peer');

  const totals = {};
  const owe = (customer, dimension, value) => {
    const key = `${customer} ${dimension}`;
    totals[key] = (totals[key] ?? 0) + value;
  };
  for (let round = 1; round <= Number(rounds); round += 1) {
    for (let index = 0; index < 5; index += 1) {
      const customer = `${name}-${index}`;
      const attributes = { 'customer.id': customer };
      requests.add(round * 7 + index, attributes);
      owe(customer, 'requests', round * 7 + index);
      work.add(round / 4, attributes);
      owe(customer, 'work', round / 4);
      sizes.record(round * 100 + index, attributes);
      owe(customer, 'size', round * 100 + index);
      logger.emit({ body: 'call', attributes: { ...attributes, event: 'call', 'event.id': `${name}/${round}/${index}`, amount: round } });
      owe(customer, 'calls', round);
    }
    // The clock has milliseconds: a counter exported in the one it began in says start = time, which means "start unknown".
    await new Promise((resolve) => setTimeout(resolve, 3));
    await meters.forceFlush();
    await logs.forceFlush();
  }
  await meters.shutdown();
  await logs.shutdown();
  console.log(JSON.stringify(totals));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
