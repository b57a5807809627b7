package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The wire numbers of opentelemetry-proto v1, as far as a cumulative int sum needs them.
const (
	lengthDelimited = 2
	fixed64         = 1
	varint          = 0
)

const (
	streamMark   = "#STREAM#"
	customerMark = "#CUS#"
	routeMark    = "#RT#"
)

// body is one request whose digits, times and values can be patched in place.
type body struct {
	bytes  []byte
	points []offsets
}

type offsets struct{ stream, customer, route, time, value int }

func field(number, kind int, value []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(number<<3|kind))
	if kind == lengthDelimited {
		out = binary.AppendUvarint(out, uint64(len(value)))
	}
	return append(out, value...)
}

func message(number int, parts ...[]byte) []byte {
	return field(number, lengthDelimited, bytes.Join(parts, nil))
}

func text(number int, value string) []byte { return field(number, lengthDelimited, []byte(value)) }

func number(value uint64) []byte { return binary.LittleEndian.AppendUint64(nil, value) }

func str(tag int, key, value string) []byte {
	return message(tag, text(1, key), message(2, text(1, value)))
}

func integer(tag int, key string, value uint64) []byte {
	return message(tag, text(1, key), message(2, field(3, varint, binary.AppendUvarint(nil, value))))
}

// point is a NumberDataPoint with 7 text attributes and an int one, fields in the order the Go SDK and the Collector write.
func point(start uint64) []byte {
	return bytes.Join([][]byte{
		field(2, fixed64, number(start)),
		field(3, fixed64, number(0)),
		field(6, fixed64, number(0)),
		str(7, "customer.id", "cust-"+customerMark),
		str(7, "http.request.method", "GET"),
		str(7, "http.route", "/v1/items/"+routeMark),
		integer(7, "http.response.status_code", 200),
		str(7, "url.scheme", "https"),
		str(7, "server.address", "api.example.com"),
		str(7, "network.protocol.version", "1.1"),
		str(7, "session.id", streamMark),
	}, nil)
}

func newBody(connection, points int, start uint64) *body {
	var encoded []byte
	for range points {
		encoded = append(encoded, message(1, point(start))...)
	}
	encoded = append(encoded, field(2, varint, []byte{2})...) // cumulative
	encoded = append(encoded, field(3, varint, []byte{1})...) // monotonic
	metric := message(2, text(1, "http.server.request.count"), text(3, "{request}"), field(7, lengthDelimited, encoded))
	scope := message(1, text(1, "loadgen"), text(2, "1.0.0"))
	resource := message(1,
		str(1, "service.name", "checkout"), str(1, "service.instance.id", fmt.Sprintf("instance-%04d", connection)),
		str(1, "cloud.region", "eu-west-1"), str(1, "deployment.environment", "prod"), str(1, "host.name", "node-17"))
	b := &body{bytes: message(1, resource, message(2, scope, metric))}
	b.locate(points)
	return b
}

// locate finds what is patched: the marks, and the two numbers that stand right before the first mark of a point.
func (b *body) locate(points int) {
	at := 0
	lead := bytes.Index(point(0), []byte(customerMark))
	for range points {
		customer := at + bytes.Index(b.bytes[at:], []byte(customerMark))
		route := customer + bytes.Index(b.bytes[customer:], []byte(routeMark))
		stream := route + bytes.Index(b.bytes[route:], []byte(streamMark))
		first := customer - lead // the point's first byte: the tag of its start time
		b.points = append(b.points, offsets{stream, customer, route, first + 10, first + 19})
		at = stream + len(streamMark)
	}
}

// patch makes the request that advances the counters of streams first, first+1, ... to what they read at this visit.
func (b *body) patch(first int, visit, now uint64) {
	for index, at := range b.points {
		stream := first + index
		digits(b.bytes[at.stream:at.stream+len(streamMark)], stream)
		digits(b.bytes[at.customer:at.customer+len(customerMark)], stream%100)
		digits(b.bytes[at.route:at.route+len(routeMark)], stream/100%20)
		binary.LittleEndian.PutUint64(b.bytes[at.time:], now)
		binary.LittleEndian.PutUint64(b.bytes[at.value:], reading(uint64(stream), visit))
	}
}

// reading is what a counter reads at a visit: it grows by 1 to 255 each time, as if at random, so that nothing compresses well.
func reading(stream, visit uint64) uint64 {
	mixed := (stream<<32 | visit) * 0x9E3779B97F4A7C15
	mixed = (mixed ^ mixed>>32) * 0xD6E8FEB86659FD93
	return visit*128 + (mixed^mixed>>32)%128
}

func digits(into []byte, value int) {
	for index := len(into) - 1; index >= 0; index-- {
		into[index] = byte('0' + value%10)
		value /= 10
	}
}
