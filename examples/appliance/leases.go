package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/pxekit/pxe/dhcp"
)

// checkLeases finds flags of leases where there are none.
func (o *options) checkLeases() error {
	full := slices.ContainsFunc(o.networks, func(n network) bool { return n.mode == dhcp.Full })
	switch {
	case o.leases == "" && o.leasesRepair:
		return errors.New("-leases-repair is for a file, and -leases names none")
	case o.leases != "" && len(o.networks) > 0 && !full:
		return errors.New("-leases keeps the addresses that are given out here, and on no network they are: leave it out")
	}
	return nil
}

// openLeases opens the file that -leases names. The store is nil without it.
func (o *options) openLeases(stderr io.Writer) (store dhcp.Store, closeLeases func(), err error) {
	if o.leases == "" {
		return nil, func() {}, nil
	}
	file, err := dhcp.OpenLeaseFile(o.leases)
	var damaged *dhcp.DamagedLeasesError
	if errors.As(err, &damaged) {
		if file, err = o.repairLeases(damaged, stderr); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("-leases: %w; this program must be allowed to write the file and to make others beside it", err)
	case err != nil:
		return nil, nil, fmt.Errorf("-leases: %w", err)
	}
	file.OnDisk = func(err error) {
		if err != nil {
			fmt.Fprintf(stderr, "appliance: -leases: the disk fails, and machines may get no addresses until it works again: %v\n", err)
			return
		}
		fmt.Fprintln(stderr, "appliance: -leases: the leases are on disk again")
	}
	return file, func() {
		if err := file.Close(); err != nil {
			fmt.Fprintln(stderr, "appliance: -leases:", err)
		}
	}, nil
}

// repairLeases opens a damaged file if it is to be repaired.
func (o *options) repairLeases(damaged *dhcp.DamagedLeasesError, stderr io.Writer) (*dhcp.LeaseFile, error) {
	problem := fmt.Sprintf("%s is damaged at offset %d: %s", damaged.Path, damaged.Offset, damaged.Problem)
	if !o.leasesRepair {
		return nil, fmt.Errorf("-leases: %s; put back a copy of it that has all leases, or add -leases-repair to keep what is whole", problem)
	}
	kept, err := dhcp.RepairLeaseFile(o.leases)
	if errors.As(err, &damaged) {
		return nil, fmt.Errorf("-leases-repair: %s; nothing can be kept: put back a copy of it, or move it away to begin without leases", problem)
	}
	if err != nil {
		return nil, fmt.Errorf("-leases-repair: %w", err)
	}
	fmt.Fprintf(stderr, "appliance: -leases: %s; leases kept: %d. An address may be given twice until all machines have renewed theirs. The file as it was: %s.damaged\n",
		problem, kept, damaged.Path)
	return dhcp.OpenLeaseFile(o.leases)
}
