// Loadgen sends OTLP metrics over gRPC as fast as they are acknowledged, and prints what it measured as one line of JSON.
//
// Each connection is a resource of its own with its share of the streams, and sends one request at a time, in order. A
// request advances each of its counters once. The body is laid out once a connection; only digits, times and values are
// patched into it, so that the load costs little beside what it loads.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const export = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

type options struct {
	target   string
	conns    int
	points   int
	streams  int
	passes   int
	duration time.Duration
	rate     float64
	visit    uint64
	start    uint64
	trace    string
	dump     string
}

// raw passes bytes through: the body is encoded already.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (raw) Name() string                       { return "proto" }

type sample struct {
	end     int64
	latency time.Duration
}

// worker is one connection: its samples, and how far it came.
type worker struct {
	samples []sample
	visit   uint64
	refused int
}

func parse() options {
	var o options
	flag.StringVar(&o.target, "target", "127.0.0.1:4317", "address of the receiver")
	flag.IntVar(&o.conns, "conns", 16, "connections, each a resource of its own")
	flag.IntVar(&o.points, "points", 512, "points a request")
	flag.IntVar(&o.streams, "streams", 10_000, "streams over all connections; at least conns x points")
	flag.IntVar(&o.passes, "passes", 0, "stop after so many passes over all streams; 0: by time")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "stop after this time")
	flag.Float64Var(&o.rate, "rate", 0, "requests a second over all connections; 0: as fast as they are acknowledged")
	flag.Uint64Var(&o.visit, "visit", 0, "the pass to go on with, as a run before printed it")
	flag.Uint64Var(&o.start, "start", 0, "start time of the counters in ns since 1970")
	flag.StringVar(&o.trace, "trace", "", "write end (ns since 1970) and latency (ns) of each request to this file")
	flag.StringVar(&o.dump, "dump", "", "write one body to this file and send nothing")
	flag.Parse()
	return o
}

func (o options) run(index int, stop *atomic.Bool) (w worker, err error) {
	conn, err := grpc.NewClient(o.target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		return w, err
	}
	defer conn.Close()
	share := max(o.streams/o.conns, o.points)
	body := newBody(index, o.points, o.start)
	w.visit = o.visit
	pace := newPace(o.rate/float64(o.conns), index, o.conns)
	for pass := 0; o.passes == 0 || pass < o.passes; pass++ {
		w.visit++
		for first := 0; first+o.points <= share; first += o.points {
			body.patch(index*share+first, w.visit, uint64(time.Now().UnixNano()))
			pace.wait()
			if err = w.send(conn, &body.bytes); err != nil {
				return w, err
			}
			if stop.Load() {
				return w, nil
			}
		}
	}
	return w, nil
}

// pace spaces the requests of one connection evenly; connections take turns. Without a rate it never waits.
type pace struct {
	interval time.Duration
	next     time.Time
}

func newPace(rate float64, index, conns int) *pace {
	if rate <= 0 {
		return &pace{}
	}
	interval := time.Duration(float64(time.Second) / rate)
	return &pace{interval, time.Now().Add(interval * time.Duration(index) / time.Duration(conns))}
}

func (p *pace) wait() {
	if p.interval > 0 {
		time.Sleep(time.Until(p.next))
		p.next = p.next.Add(p.interval)
	}
}

// send repeats a refused request until it is acknowledged; the latency is that of the whole.
func (w *worker) send(conn *grpc.ClientConn, body *[]byte) error {
	begin := time.Now()
	for {
		var answer []byte
		err := conn.Invoke(context.Background(), export, body, &answer)
		if err == nil {
			end := time.Now()
			w.samples = append(w.samples, sample{end.UnixNano(), end.Sub(begin)})
			return nil
		}
		if status.Code(err) != codes.Unavailable {
			return err
		}
		w.refused++
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	o := parse()
	if o.dump != "" {
		body := newBody(0, o.points, o.start)
		body.patch(0, o.visit+1, uint64(time.Now().UnixNano()))
		if err := os.WriteFile(o.dump, body.bytes, 0o600); err != nil {
			log.Fatal(err)
		}
		return
	}
	workers := make([]worker, o.conns)
	var stop atomic.Bool
	var group sync.WaitGroup
	begin := time.Now()
	if o.passes == 0 {
		time.AfterFunc(o.duration, func() { stop.Store(true) })
	}
	for index := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			var err error
			if workers[index], err = o.run(index, &stop); err != nil {
				log.Fatalf("connection %d: %v", index, err)
			}
		}()
	}
	group.Wait()
	report(o, workers, time.Since(begin))
}

func report(o options, workers []worker, took time.Duration) {
	var samples []sample
	var visit uint64
	refused := 0
	for _, w := range workers {
		samples = append(samples, w.samples...)
		visit = max(visit, w.visit)
		refused += w.refused
	}
	slices.SortFunc(samples, func(a, b sample) int { return int(a.latency - b.latency) })
	at := func(q float64) float64 {
		return float64(samples[min(int(q*float64(len(samples))), len(samples)-1)].latency.Microseconds())
	}
	share := max(o.streams/o.conns, o.points)
	out := map[string]any{
		"requests": len(samples), "points": len(samples) * o.points, "seconds": took.Seconds(), "refused": refused,
		"p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1), "visit": visit,
		"streams": o.conns * (share / o.points) * o.points, "body_bytes": len(newBody(0, o.points, o.start).bytes),
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		log.Fatal(err)
	}
	if o.trace != "" {
		writeTrace(o.trace, samples)
	}
}

func writeTrace(path string, samples []sample) {
	file, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	buffered := bufio.NewWriter(file)
	defer buffered.Flush()
	for _, s := range samples {
		fmt.Fprintf(buffered, "%d %d\n", s.end, s.latency.Nanoseconds())
	}
}
