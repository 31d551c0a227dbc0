package dhcp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// RepairLeaseFile makes a damaged lease file usable again: it keeps the records
// that are whole, and returns how many bindings that makes. The file as it was
// remains beside it, with ".damaged" added to its name, in place of one from an earlier repair. A file
// that is not damaged is not changed. No server may have it open
// ([ErrLeaseFileInUse]).
//
// A lease that was in the damaged part is forgotten, or is again what it was some
// time before, so that its address may be given to another client. Those who had
// such a lease are safe again once they have renewed it: after a lease time, that
// is, or when all machines of the network have been restarted. A copy of the file that
// is put back in its place forgets, in the same way, what was leased and renewed
// after the copy was made: it is the better choice if that was nothing.
//
// If the first 40 bytes are damaged nothing can be told from chance, and the
// error is a [*DamagedLeasesError]; then remove the file to begin with none.
func RepairLeaseFile(path string) (kept int, err error) {
	path, err = resolve(path)
	if err != nil {
		return 0, fmt.Errorf("dhcp: lease file: %w", err)
	}
	return repairLeaseFile(osDisk{}, path)
}

func repairLeaseFile(disk leaseDisk, path string) (kept int, err error) {
	f, err := newLeaseFile(disk, path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	damaged, err := f.salvageIfDamaged()
	if err == nil && damaged {
		err = f.replace(nil)
	}
	if err != nil {
		return 0, f.named(err)
	}
	return len(f.bindings), nil
}

// salvageIfDamaged reads what it can. Of a damaged file it makes a copy.
func (f *LeaseFile) salvageIfDamaged() (damaged bool, err error) {
	file, err := f.disk.open(f.path)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	whole, err := readLeases(file, f.path)
	if err == nil {
		f.bindings = whole.bindings
		return false, nil
	}
	var damage *DamagedLeasesError
	if !errors.As(err, &damage) {
		return false, err
	}
	if err := f.salvage(file); err != nil {
		return false, err
	}
	return true, f.keepCopy(file)
}

// salvage takes over every frame that is whole, wherever it is.
func (f *LeaseFile) salvage(file leaseHandle) error {
	r := &leaseReader{file: file, path: f.path}
	var err error
	if r.size, err = file.Size(); err != nil {
		return err
	}
	h, err := r.header()
	if err != nil {
		return err
	}
	r.salt, f.version = h.salt, h.version
	for offset := int64(headerLen); offset < r.size; {
		body, err := r.frame(offset)
		if errors.Is(err, errNoFrame) {
			offset++
			continue
		}
		if err != nil {
			return err
		}
		offset += frameHeaderLen + int64(len(body)) + 1
		for len(body) > 0 {
			addr, n, err := scanRecord(body)
			if err != nil {
				break
			}
			f.salvaged(addr, string(body[:n]))
			body = body[n:]
		}
	}
	return nil
}

func (f *LeaseFile) salvaged(addr netip.Addr, record string) {
	f.version = max(f.version, recordVersion(record))
	if record[0] == recordRemoved {
		delete(f.bindings, addr)
	} else {
		f.bindings[addr] = record
	}
}

// keepCopy copies the file as it is.
func (f *LeaseFile) keepCopy(file leaseHandle) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	to, err := f.disk.create(f.path + ".damaged")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(file, 0, size))
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}
