package nbd

// read answers a READ of 1 to maxRequest bytes within the export.
func (t *transmission) read(r request) error {
	n := int(r.length)
	switch {
	case n > bufferSize || t.w.zeroCopy() && n >= sendfileSize:
		return t.readLong(r)
	case n >= parallelSize && t.in.Buffered() >= requestSize && t.help(r):
		return nil
	}
	if err := t.reserve(chunkSize + offsetSize + n); err != nil {
		return err
	}
	t.out = t.appendRead(t.out, r)
	return nil
}

// appendRead appends the reply to a READ of at most bufferSize, for which p has
// room.
func (t *transmission) appendRead(p []byte, r request) []byte {
	start := len(p)
	p = t.appendHeader(p, r)
	head := len(p)
	p = p[:head+int(r.length)]
	if t.export.readAt(p[head:], int64(r.offset)) != nil {
		return t.appendStatus(p[:start], r, errnoIO)
	}
	t.bytes.Add(int64(r.length))
	return p
}

// appendHeader appends what precedes the data of a READ that is answered in one
// piece.
func (t *transmission) appendHeader(p []byte, r request) []byte {
	if t.structured {
		return appendData(p, r.cookie, chunkDone, r.offset, int(r.length))
	}
	return appendSimple(p, r.cookie, 0)
}

// help has a READ of at most bufferSize answered by another goroutine, if one is free.
func (t *transmission) help(r request) bool {
	select {
	case t.slots <- struct{}{}:
	default:
		return false
	}
	if t.server.helpers.Add(1) > maxHelpersInAll {
		t.server.helpers.Add(-1)
		<-t.slots
		return false
	}
	t.helpers.Go(func() {
		buffer := t.server.buffer()
		reply := t.appendRead(buffer[:0], r)
		t.w.lock()
		if t.w.write(reply) != nil {
			t.net.Close() // ends the loop
		}
		t.w.unlock()
		t.server.buffers.Put(buffer)
		t.server.helpers.Add(-1)
		<-t.slots
	})
	return true
}

// readLong answers a READ that does not go through out.
func (t *transmission) readLong(r request) error {
	if t.w.zeroCopy() {
		return t.readFile(r)
	}
	if t.structured && r.flags&cmdFlagDF == 0 {
		return t.readChunks(r)
	}
	return t.readPieces(r)
}

// readFile answers a READ by sendfile. What fails then fails after the header,
// and ends the connection unless the rest can be read otherwise.
func (t *transmission) readFile(r request) error {
	// A client that does not take its replies must not hold a buffer for the
	// sake of one header.
	head := t.header[:0]
	if t.buffer != nil {
		if err := t.reserve(len(t.header)); err != nil {
			return err
		}
		head = t.out
	}
	head = t.appendHeader(head, r)
	t.w.lock()
	defer t.w.unlock()
	sent, err := t.w.sendFile(head, int64(r.offset), int64(r.length))
	t.bytes.Add(sent)
	t.out = t.out[:0]
	if err != errNoSendfile {
		return err
	}
	if err := t.reserve(bufferSpace); err != nil {
		return err
	}
	return t.copyPieces(r, int(sent))
}

// readPieces answers a READ in one reply that is longer than a buffer. The first
// piece is read before the header leaves, so that a backend that is broken
// altogether is not more than an error to the client.
func (t *transmission) readPieces(r request) error {
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.reserve(bufferSpace); err != nil {
		return err
	}
	p := t.appendHeader(t.out, r)
	head := len(p)
	p = p[:head+bufferSize]
	if t.export.readAt(p[head:], int64(r.offset)) != nil {
		return t.status(r, errnoIO)
	}
	t.w.lock()
	defer t.w.unlock()
	if err := t.w.write(p); err != nil {
		return err
	}
	t.bytes.Add(bufferSize)
	return t.copyPieces(r, bufferSize)
}

// copyPieces sends the data of a READ from its byte done on. The writer is
// locked, and out is empty.
func (t *transmission) copyPieces(r request, done int) error {
	for done < int(r.length) {
		p := t.buffer[:min(bufferSize, int(r.length)-done)]
		if err := t.export.readAt(p, int64(r.offset)+int64(done)); err != nil {
			return err
		}
		if err := t.w.write(p); err != nil {
			return err
		}
		t.bytes.Add(int64(len(p)))
		done += len(p)
	}
	return nil
}

// readChunks answers a READ in chunks, so that an error in the middle is one of
// this request only.
func (t *transmission) readChunks(r request) error {
	for {
		if err := t.flush(); err != nil {
			return err
		}
		if err := t.reserve(bufferSpace); err != nil {
			return err
		}
		flags, n := uint16(0), min(bufferSize, int(r.length))
		if n == int(r.length) {
			flags = chunkDone
		}
		p := appendData(t.out, r.cookie, flags, r.offset, n)
		head := len(p)
		p = p[:head+n]
		if t.export.readAt(p[head:], int64(r.offset)) != nil {
			t.out = appendErrorChunk(t.out, r.cookie, errnoIO)
			return nil
		}
		t.out = p
		t.bytes.Add(int64(n))
		r.offset += uint64(n)
		r.length -= uint32(n)
		if r.length == 0 {
			return nil
		}
	}
}
