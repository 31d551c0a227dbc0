package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func nbdURL(r *running) string { return "nbd://" + r.addr + "/" + exportName }

// nbdcopy copies the export to nowhere, over so many connections.
func nbdcopy(connections int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		start := time.Now()
		_, err := run(ctx, "nbdcopy", fmt.Sprintf("--connections=%d", connections), nbdURL(r), "null:")
		return sample{value: bigSize / 1e6 / time.Since(start).Seconds(), bytes: bigSize}, err
	}
}

// qemuImg reads count blocks in order, 16 of them in flight.
func qemuImg(size, count int64) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		out, err := run(ctx, "qemu-img", "bench", "-c", strconv.FormatInt(count, 10), "-d", "16", "-s", strconv.FormatInt(size, 10), "-f", "raw", nbdURL(r))
		if err != nil {
			return sample{}, err
		}
		seconds, err := parseQemuImg(out)
		return sample{value: float64(size*count) / 1e6 / seconds, bytes: size * count}, err
	}
}

var completed = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

// parseQemuImg finds the seconds in what qemu-img bench prints.
func parseQemuImg(out string) (float64, error) {
	match := completed.FindStringSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("qemu-img bench without a time: %q", out)
	}
	seconds, err := strconv.ParseFloat(match[1], 64)
	if err == nil && seconds <= 0 {
		err = fmt.Errorf("qemu-img bench took %v seconds", seconds)
	}
	return seconds, err
}

// fio reads at random for two seconds, 16 requests in flight on each connection.
func fio(block string, connections int) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		out, err := run(ctx, "fio", "--name=bench", "--ioengine=nbd", "--uri="+nbdURL(r), "--rw=randread", "--bs="+block,
			"--iodepth=16", "--numjobs="+strconv.Itoa(connections), "--time_based", "--runtime=2",
			"--group_reporting", "--output-format=json")
		if err != nil {
			return sample{}, err
		}
		return parseFio(out)
	}
}

// parseFio takes MB/s and bytes from fio's JSON, before which the engine prints a
// line for each connection. Group reporting makes one job of all.
func parseFio(out string) (sample, error) {
	out = out[max(0, strings.IndexByte(out, '{')):]
	var report struct {
		Jobs []struct {
			Error int `json:"error"`
			Read  struct {
				Bytes int64   `json:"io_bytes"`
				Speed float64 `json:"bw_bytes"`
			} `json:"read"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return sample{}, fmt.Errorf("fio: %w: %.200q", err, out)
	}
	if len(report.Jobs) != 1 || report.Jobs[0].Error != 0 || report.Jobs[0].Read.Speed == 0 {
		return sample{}, fmt.Errorf("fio: no figures of one job without errors: %+v", report)
	}
	read := report.Jobs[0].Read
	return sample{value: read.Speed / 1e6, bytes: read.Bytes}, nil
}

// nbdClient is a connection that has come to the transmission phase.
type nbdClient struct{ conn *net.TCPConn }

// openNBD negotiates the export as the simplest of clients does, with
// NBD_OPT_EXPORT_NAME.
func openNBD(ctx context.Context, addr string) (*nbdClient, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*nbdClient, error) {
		conn.Close()
		return nil, fmt.Errorf("NBD negotiation: %w", err)
	}
	greeting := make([]byte, 18)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return fail(err)
	}
	if string(greeting[:16]) != "NBDMAGICIHAVEOPT" || greeting[17]&3 != 3 {
		return fail(fmt.Errorf("not the newstyle greeting with NO_ZEROES: %q", greeting))
	}
	ask := append([]byte{0, 0, 0, 3}, "IHAVEOPT\x00\x00\x00\x01"...)
	ask = binary.BigEndian.AppendUint32(ask, uint32(len(exportName)))
	if _, err := conn.Write(append(ask, exportName...)); err != nil {
		return fail(err)
	}
	export := make([]byte, 10)
	if _, err := io.ReadFull(conn, export); err != nil {
		return fail(err)
	}
	if size := binary.BigEndian.Uint64(export); size != bigSize {
		return fail(fmt.Errorf("export of %d bytes instead of %d", size, bigSize))
	}
	return &nbdClient{conn}, nil
}

// read reads n bytes at an offset and throws them away.
func (c *nbdClient) read(offset uint64, n uint32) error {
	ask := []byte{0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	ask = binary.BigEndian.AppendUint64(ask, offset)
	ask = binary.BigEndian.AppendUint32(ask, n)
	if _, err := c.conn.Write(ask); err != nil {
		return err
	}
	reply := make([]byte, 16)
	if _, err := io.ReadFull(c.conn, reply); err != nil {
		return err
	}
	if string(reply) != "\x67\x44\x66\x98\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08" {
		return fmt.Errorf("not a simple reply without an error: %x", reply)
	}
	_, err := io.CopyN(io.Discard, c.conn, int64(n))
	return err
}
