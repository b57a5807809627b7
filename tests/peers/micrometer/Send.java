import io.micrometer.core.instrument.Clock;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.registry.otlp.AggregationTemporality;
import io.micrometer.registry.otlp.OtlpConfig;
import io.micrometer.registry.otlp.OtlpMeterRegistry;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/**
 * Sends counters and a distribution summary through Micrometer's OTLP registry, in an export each second and one at the end.
 * usage: java Send TARGET NAME ROUNDS TEMPORALITY: prints what must be billed, as {"customer dimension": total}
 */
public final class Send {
  public static void main(String[] args) throws InterruptedException {
    String name = args[1];
    OtlpMeterRegistry registry = new OtlpMeterRegistry(config(args[0], name, args[3]), Clock.SYSTEM);
    Map<String, Double> totals = new TreeMap<>();
    for (int round = 1; round <= Integer.parseInt(args[2]); round++) {
      for (int index = 0; index < 5; index++) {
        String customer = name + "-" + index;
        Counter.builder("sdk.requests").baseUnit("{request}").tag("customer.id", customer).register(registry)
            .increment(round * 7 + index);
        totals.merge(customer + " requests", round * 7.0 + index, Double::sum);
        Counter.builder("sdk.work").baseUnit("s").tag("customer.id", customer).register(registry).increment(round / 4.0);
        totals.merge(customer + " work", round / 4.0, Double::sum);
        DistributionSummary.builder("sdk.size").baseUnit("By").tag("customer.id", customer).register(registry)
            .record(round * 100 + index);
        totals.merge(customer + " size", round * 100.0 + index, Double::sum);
      }
      Thread.sleep(1100);
    }
    registry.close(); // sends once more
    StringBuilder out = new StringBuilder("{");
    totals.forEach((key, value) -> out.append(out.length() > 1 ? "," : "").append('"').append(key).append("\":").append(value));
    System.out.println(out.append('}'));
  }

  private static OtlpConfig config(String target, String name, String temporality) {
    return new OtlpConfig() {
      @Override
      public String get(String key) {
        return null;
      }

      @Override
      public String url() {
        return "http://" + target + "/v1/metrics";
      }

      @Override
      public Duration step() {
        return Duration.ofSeconds(1);
      }

      @Override
      public AggregationTemporality aggregationTemporality() {
        return AggregationTemporality.valueOf(temporality);
      }

      @Override
      public Map<String, String> resourceAttributes() {
        return Map.of("service.name", "micrometer", "service.instance.id", name);
      }
    };
  }
}
