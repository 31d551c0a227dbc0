package nbd

// pattern is an endless image: what stands at each offset is known.
type pattern struct{}

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	// Up to the next multiple of 256, what patternByte says is a piece of the
	// multiples of 7, of which 183 is the inverse; byte by byte, most of the
	// tests' time would go into this.
	for done := 0; done < len(p); {
		at := off + int64(done)
		first := int(byte(at + (at>>8*13+at>>16)*183))
		done += copy(p[done:], sevens[first:first+256-int(at&255)])
	}
	return len(p), nil
}

func patternByte(off int64) byte { return byte(off*7 + off>>8*13 + off>>16) }

// sevens are the multiples of 7.
var sevens = func() (p [512]byte) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}()

func patternBytes(off int64, n int) []byte {
	p := make([]byte, n)
	pattern{}.ReadAt(p, off)
	return p
}
