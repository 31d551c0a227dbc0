package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestT003_LockStepOf512Bytes(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c, file := b.client(), testFiles["three"].Data
		c.request(rrq("three", "octet"))
		c.expectData(1, file[:512])
		c.silence(100 * time.Millisecond) // no second block before the first is acknowledged
		c.ack(1)
		c.expectData(2, file[512:1024])
		c.ack(2)
		c.expectData(3, file[1024:])
		c.ack(3)
		c.silence(time.Minute)
		require.Equal(t, Result{Bytes: 1025, Size: 1025}, b.seen.last(t))
	})
}

func TestT004_LastBlockIsShort(t *testing.T) {
	for _, test := range []struct {
		name   string
		file   int
		blocks []int
	}{
		{"empty file is one empty block", 0, []int{0}},
		{"one byte", 1, []int{1}},
		{"just below a block", 511, []int{511}},
		{"an exact block is followed by an empty one", 512, []int{512, 0}},
		{"just above a block", 513, []int{512, 1}},
		{"two exact blocks", 1024, []int{512, 512, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := fstest.MapFS{"f": {Data: pattern(test.file)}}
			inMemory(t, func(s *Server) { s.Handler = fsHandler(files) }, func(t *testing.T, b *bench) {
				c, rest := b.client(), files["f"].Data
				c.request(rrq("f", "octet"))
				for i, n := range test.blocks {
					c.expectData(uint16(i+1), rest[:n])
					rest = rest[n:]
					c.ack(uint16(i + 1))
				}
				c.silence(time.Minute)
				require.NoError(t, b.seen.last(t).Err)
			})
		})
	}
}

func TestT005_LastBlockIsSentUntilAcknowledged(t *testing.T) {
	t.Run("a client that is gone has its file", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("one", "octet"))
			c.expectData(1, testFiles["one"].Data)
			c.ack(1)
			since := time.Now()
			time.Sleep(lastSilence - time.Second)
			require.Empty(t, b.seen.ends(), "the last ACK may be late")
			time.Sleep(maxTimeout)
			result := b.seen.last(t)
			require.NoError(t, result.Err)
			require.EqualValues(t, 512, result.Bytes)
			sent := b.net.sentBy(serverAddr.Addr())[1:]
			require.Len(t, sent, 1+result.Retransmits)
			for _, p := range sent {
				require.Equal(t, sent[0].data, p.data)
				require.Less(t, p.at.Sub(since), lastSilence)
			}
		})
	})
	t.Run("a client that never answered has not", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("short", "octet"))
			time.Sleep(time.Minute)
			result := b.seen.last(t)
			require.ErrorIs(t, result.Err, ErrNoAnswer)
			require.Zero(t, result.Bytes)
		})
	})
	t.Run("nor has one that misses blocks", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("three", "octet"))
			c.expectData(1, testFiles["three"].Data[:512])
			c.ack(1)
			time.Sleep(clientSilence + maxTimeout)
			require.ErrorIs(t, b.seen.last(t).Err, ErrNoAnswer)
		})
	})
}

func TestT006_DuplicateACKSendsNothing(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c, file := b.client(), testFiles["big"].Data
		c.request(rrq("big", "octet"))
		c.expectData(1, file[:512])
		for block := uint16(1); block <= 20; block++ {
			for range 3 {
				c.ack(block)
			}
			if block < 20 {
				c.expectData(block+1, file[int(block)*512:int(block+1)*512])
			} else {
				c.expectData(21, nil)
			}
		}
		c.ack(7)     // long past
		c.ack(22)    // not sent yet
		c.ack(40000) // nonsense
		c.silence(minTimeout - time.Millisecond)
		c.ack(21)
		synctest.Wait()
		require.Equal(t, Result{Bytes: 20 * 512, Size: 20 * 512}, b.seen.last(t), "no block was sent twice")
	})
}

func TestT013_ErrorEndsTheTransfer(t *testing.T) {
	for _, test := range []struct {
		name    string
		code    ErrorCode
		offered bool // the client answers the options, not data
		aborted bool
	}{
		{"size probe, ERROR 8", CodeOptionRefused, true, true},
		{"size probe, ERROR 0", CodeUndefined, true, true},
		{"options refused by another code", CodeDiskFull, true, true},
		{"PXELINUX closes a file early", CodeUndefined, false, true},
		{"ERROR 8 to data", CodeOptionRefused, false, true},
		{"disk full", CodeDiskFull, false, false},
		{"unknown TID", CodeUnknownTID, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, nil, func(t *testing.T, b *bench) {
				c := b.client()
				if test.offered {
					c.request(rrq("big", "octet", "tsize", "0"))
					c.expectOACK("tsize", "10240")
				} else {
					c.request(rrq("big", "octet"))
					c.receive(patience)
				}
				c.abort(test.code)
				c.silence(time.Minute) // neither an answer nor a retransmission
				result := b.seen.last(t)
				require.Equal(t, test.aborted, result.Aborted)
				if test.aborted {
					require.NoError(t, result.Err)
				} else {
					var client *ClientError
					require.ErrorAs(t, result.Err, &client)
					require.Equal(t, ClientError{test.code, "bye"}, *client)
				}
			})
		})
	}
}

func TestS005_SizeProbeThenRequestIsNoFailure(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("big", "octet", "tsize", "0"))
		c.expectOACK("tsize", "10240")
		c.abort(CodeOptionRefused)
		synctest.Wait()
		require.Equal(t, testFiles["big"].Data, c.fetch("big", "tsize", "0", "blksize", "1468"))
		synctest.Wait()
		require.Len(t, b.seen.ends(), 2)
		require.True(t, b.seen.ends()[0].Aborted)
		require.Equal(t, Result{Bytes: 10240, Size: 10240}, b.seen.ends()[1])
		require.Empty(t, b.server.Drops())
	})
	t.Run("even when the client does not say that it has given up", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("short", "octet", "tsize", "0"))
			c.expectOACK("tsize", "100")
			c.request(rrq("short", "octet", "blksize", "512"))
			c.expectOACK("blksize", "512")
			c.ack(0)
			c.expectData(1, testFiles["short"].Data)
			c.ack(1)
		})
	})
}

func TestT015_OACKIsSentUntilACK0(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("short", "octet", "blksize", "1000"))
		c.expectOACK("blksize", "1000")
		c.ack(1) // not of the OACK
		c.expectOACK("blksize", "1000")
		c.ack(0)
		c.expectData(1, testFiles["short"].Data)
		c.ack(0) // a repeated one sends nothing
		c.silence(minTimeout - time.Millisecond)
		c.ack(1)
		synctest.Wait()
		require.Equal(t, Result{Bytes: 100, Size: 100, Retransmits: 1}, b.seen.last(t))
	})
}

func TestT016_NothingAcceptedNoOACK(t *testing.T) {
	for name, options := range map[string][]string{
		"no options":      nil,
		"unknown":         {"x-foo", "1", "multicast", "", "windowsize", "16"},
		"out of range":    {"blksize", "7", "timeout", "0"},
		"padding of NULs": {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, nil, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("short", "octet", options...))
				c.expectData(1, testFiles["short"].Data)
				c.ack(1)
			})
		})
	}
}

func TestT020_BlockNumbersRollOverToZero(t *testing.T) {
	const blocks = 65536 + 3
	handler := HandlerFunc(func(_ context.Context, tr *Transfer) error {
		tr.SetSize(blocks * 8)
		_, err := tr.ReadFrom(&counting{size: blocks * 8})
		return err
	})
	inMemory(t, func(s *Server) { s.Handler = handler }, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("f", "octet", "blksize", "8"))
		c.expectOACK("blksize", "8")
		c.ack(0)
		for block := 1; block <= blocks+1; block++ {
			p := c.receive(patience)
			require.Equal(t, uint16(block), binary.BigEndian.Uint16(p[2:]))
			if block == 65536 {
				c.ack(65535) // repeated at the turn
				c.silence(minTimeout / 2)
			}
			c.ack(uint16(block))
			b.net.mu.Lock()
			b.net.log = nil
			b.net.mu.Unlock()
		}
		synctest.Wait()
		require.Equal(t, Result{Bytes: blocks * 8, Size: blocks * 8}, b.seen.last(t))
	})
}

func TestT021_NoOfferBeforeTheFileCanBeRead(t *testing.T) {
	for name, handler := range map[string]Handler{
		"cannot be opened": HandlerFunc(func(context.Context, *Transfer) error { return fs.ErrNotExist }),
		"cannot be read": HandlerFunc(func(_ context.Context, tr *Transfer) error {
			tr.SetSize(100)
			_, err := tr.ReadFrom(readerFunc(func([]byte) (int, error) { return 0, fs.ErrNotExist }))
			return err
		}),
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(s *Server) { s.Handler = handler }, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("f", "octet", "tsize", "0", "blksize", "1468"))
				c.expectError(CodeNotFound, "File not found")
				c.silence(time.Minute)
				require.ErrorIs(t, b.seen.last(t).Err, fs.ErrNotExist)
			})
		})
	}
}

func TestT023_AFileThatShrinksIsAnError(t *testing.T) {
	handler := func(have, say int64) Handler {
		return HandlerFunc(func(_ context.Context, tr *Transfer) error {
			tr.SetSize(say)
			_, err := tr.ReadFrom(&counting{size: have})
			return err
		})
	}
	for name, have := range map[string]int64{"within a block": 700, "at a block": 512} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(s *Server) { s.Handler = handler(have, 1500) }, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("f", "octet"))
				for {
					p := c.receive(patience)
					if opcode(p) == opERROR {
						require.Equal(t, string(appendError(nil, 0, "Internal error")), string(p))
						break
					}
					require.Len(t, p, 516, "a short block would be taken for the end")
					c.ack(binary.BigEndian.Uint16(p[2:]))
				}
				synctest.Wait()
				require.ErrorIs(t, b.seen.last(t).Err, errShrunk)
			})
		})
	}
	t.Run("one that grows keeps its size", func(t *testing.T) {
		inMemory(t, func(s *Server) { s.Handler = handler(5000, 700) }, func(t *testing.T, b *bench) {
			require.Len(t, b.client().fetch("f"), 700)
		})
	})
	t.Run("nor is the source's own unexpected EOF the end", func(t *testing.T) {
		h := HandlerFunc(func(_ context.Context, tr *Transfer) error {
			_, err := tr.ReadFrom(readerFunc(func(p []byte) (int, error) { return 10, io.ErrUnexpectedEOF }))
			return err
		})
		inMemory(t, func(s *Server) { s.Handler = h }, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("f", "octet"))
			c.expectError(CodeUndefined, "Internal error")
		})
	})
}

func TestT024_BytesBeforeTheFirstACKAreBounded(t *testing.T) {
	for name, options := range map[string][]string{
		"data":                        nil,
		"options":                     {"blksize", "65464", "tsize", "0"},
		"the longest of all timeouts": {"timeout", "255"},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, nil, func(t *testing.T, b *bench) {
				b.client().request(rrq("big", "octet", options...))
				time.Sleep(30 * time.Second)
				sent := b.net.sentBy(serverAddr.Addr())
				require.Len(t, sent, 1+defaultRetries)
				for _, p := range sent {
					require.Equal(t, sent[0].data, p.data)
					require.LessOrEqual(t, len(p.data), 516)
				}
				require.ErrorIs(t, b.seen.last(t).Err, ErrNoAnswer, "and it has ended")
			})
		})
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		n := 0
		b.net.mu.Lock()
		b.net.lose = func(memPacket) bool { n++; return n%3 == 0 }
		b.net.mu.Unlock()
		c := b.client()
		// The client is as deaf as the network: it acknowledges what it gets.
		c.request(rrq("big", "octet"))
		var file []byte
		for next := uint16(1); ; {
			p := c.receive(patience)
			require.NotNil(t, p)
			block := binary.BigEndian.Uint16(p[2:])
			if block == next {
				file = append(file, p[4:]...)
				next++
			}
			c.ack(block)
			if len(p) < 516 {
				break
			}
		}
		require.Equal(t, testFiles["big"].Data, file)
		b.net.mu.Lock()
		b.net.lose = nil
		b.net.mu.Unlock()
		c.ack(21)
		synctest.Wait()
		require.NoError(t, b.seen.last(t).Err)
		require.Positive(t, b.seen.last(t).Retransmits)
	})
}

func TestReadersThatMakeNoProgressEnd(t *testing.T) {
	_, err := readBlock(readerFunc(func([]byte) (int, error) { return 0, nil }), make([]byte, 8))
	require.ErrorIs(t, err, io.ErrNoProgress)
	boom := errors.New("boom")
	_, err = readBlock(readerFunc(func(p []byte) (int, error) { return len(p), boom }), make([]byte, 8))
	require.ErrorIs(t, err, boom, "an error that comes with a full block is not lost")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
